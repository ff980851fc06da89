// Fused multiply-adds on registers alone: the most that a core does per second, in GFLOP/s.
#include <chrono>
typedef float V __attribute__((vector_size(64)));
extern "C" double peak(double seconds) {
    V sums[16];
    for (int i = 0; i < 16; i++) sums[i] = V{} + (float)i;
    const V a = V{} + 0.999f, b = V{} + 0.001f;
    double done = 0, spent = 0;
    const auto start = std::chrono::steady_clock::now();
    while (spent < seconds) {
        for (int r = 0; r < 10000; r++)
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) sums[i] = sums[i] * a + b;
        for (int i = 0; i < 16; i++) asm volatile("" : "+m"(sums[i]));
        done += 10000.0 * 16 * 16 * 2;
        spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    return done / spent / 1e9;
}
