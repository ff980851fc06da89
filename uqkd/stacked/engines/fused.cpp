// Trains students that are plain multilayer perceptrons, one after another, each from its first step to its last.
//
// A student of these sizes fits in a core's caches with its gradients, optimiser state and activations, so that all work
// but the reading of data happens there. Widths, activation, loss, optimiser and number type are compile-time constants:
//   -DREAL=float -DWIDTHS=13,16,1 -DTANH=0 -DLOSS=0 (mse) 1 (gaussian) 2 (cross_entropy)
//   -DUPDATE="..." one step of the optimiser, from its file in optimisers/: moves p by the gradient g (times scale), with m
//   and v of its own, zero before the first; and the decay of weights, the rate, the number of the step and all of the job
//   -DBYTES=64 of the machine's vectors: longer ones would be split by the compiler, through memory, at a tenth of the speed
// Activations lie features first, (features, rows): the vector axis is the rows, and every layer is one product that
// broadcasts weights. Rows are padded to whole vectors; padded rows get gradient zero. What a student becomes depends on
// nothing but its own inputs: not on how many others there are, in which order, or on how many threads.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

using T = REAL;
using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
constexpr int L = BYTES / sizeof(T);  // lanes of a vector
constexpr int WIDE = BYTES == 64 ? 4 : 2, SUMS = BYTES == 64 ? 24 : 12;  // vectors side by side, and sums, that the registers hold
typedef T V __attribute__((vector_size(BYTES), aligned(BYTES), may_alias));
typedef Bits I __attribute__((vector_size(BYTES), aligned(BYTES), may_alias));

constexpr int width[] = {WIDTHS};
constexpr int layers = sizeof(width) / sizeof(int) - 1, outputs = width[layers];
constexpr int padded(int n) { return (n + L - 1) / L * L; }
constexpr int weights_at(int layer) {  // a layer's weights (out, padded in), then its bias (padded out)
    int at = 0;
    for (int l = 0; l < layer; l++) at += width[l + 1] * padded(width[l]) + padded(width[l + 1]);
    return at;
}
constexpr int bias_at(int layer) { return weights_at(layer) + width[layer + 1] * padded(width[layer]); }
constexpr int parameters = weights_at(layers);
constexpr int targets = LOSS == 1 ? 2 : outputs;
constexpr int widest() {
    int most = 0;
    for (int w : width) most = w > most ? w : most;
    return most;
}
// Rows are worked on in tiles, forward and backward, whose activations and their gradients stay in the first-level cache.
constexpr int tile() {
    int all = 0;
    for (int w : width) all += w;
    const int fit = 32768 / (2 * all * (int)sizeof(T)) / (4 * L) * (4 * L);
    return fit < 4 * L ? 4 * L : fit;
}

struct Job {  // mirrored in fused.py
    int64_t students, rows, batch, steps, order_steps, validation_rows, validate_every, patience;
    int64_t own_inputs, own_targets, own_orders, own_rates, own_held_inputs, own_held_targets;  // 1: a leading student axis
    const T *inputs, *targets, *validation_inputs, *validation_targets;      // (rows, padded in), (rows, targets)
    const int32_t *orders;                                                   // (order_steps, batch), or null: all rows
    const double *rates;                                                     // (steps)
    T *parameters;                                                           // (students, parameters), trained in place
    double *loss;
    int64_t *failed_at, *stopped_at;
    double momentum, nesterov, beta1, beta2, eps, weight_decay, clip_norm;   // clip_norm 0: none
};

static inline V load(const T *p) { return *(const V *)p; }
static inline void store(T *p, V v) { *(V *)p = v; }
static inline V splat(T x) { return x - V{}; }

template <int D, size_t... i> static inline V low(V a, V b, std::index_sequence<i...>) {
    return __builtin_shufflevector(a, b, ((i & D) ? L + i - D : i)...);
}
template <int D, size_t... i> static inline V high(V a, V b, std::index_sequence<i...>) {
    return __builtin_shufflevector(a, b, ((i & D) ? L + i : i + D)...);
}
template <size_t... i> static inline V even(V a, V b, std::index_sequence<i...>) {
    return __builtin_shufflevector(a, b, (2 * i)...);
}
template <size_t... i> static inline V odd(V a, V b, std::index_sequence<i...>) {
    return __builtin_shufflevector(a, b, (2 * i + 1)...);
}
constexpr auto lanes = std::make_index_sequence<L>{};

template <int D = 1> static inline void transpose(V *r) {  // L vectors of L lanes
    if constexpr (D < L) {
#pragma GCC unroll 16
        for (int i = 0; i < L; i++)
            if (!(i & D)) {
                V a = r[i], b = r[i + D];
                r[i] = low<D>(a, b, lanes), r[i + D] = high<D>(a, b, lanes);
            }
        transpose<2 * D>(r);
    }
}
template <int N = L> static inline V sums(V *r) {  // lane i of the result: the sum over the lanes of r[i]
    if constexpr (N == 1) return r[0];
    else {
#pragma GCC unroll 16
        for (int i = 0; i < N / 2; i++) r[i] = even(r[2 * i], r[2 * i + 1], lanes) + odd(r[2 * i], r[2 * i + 1], lanes);
        return sums<N / 2>(r);
    }
}
static inline T sum(V v) {
    T total = 0;
    for (int i = 0; i < L; i++) total += v[i];
    return total;
}

static inline V exponential(V x) {  // 2^n · e^r, |r| <= ln 2 / 2; Taylor to below half a unit in the last place
    constexpr T most = sizeof(T) == 4 ? 88 : 709;
    V y = x < splat(-most) ? splat(-most) : x;
    y = y > splat(most) ? splat(most) : y;  // NaN stays: both comparisons are false
    constexpr T shift = sizeof(T) == 4 ? 12582912.0 : 6755399441055744.0;  // 1.5 · 2^(mantissa bits): rounds to integer
    V n = (y * splat(T(1.4426950408889634074)) + shift) - shift;
    V r = y - n * splat(T(sizeof(T) == 4 ? 0.693359375 : 0.693147180369123816490));
    r = r - n * splat(T(sizeof(T) == 4 ? -2.12194440e-4 : 1.90821492927058770002e-10));
    constexpr int terms = sizeof(T) == 4 ? 8 : 14;
    V p = splat(1);
#pragma GCC unroll 16
    for (int i = terms; i > 0; i--) p = p * r * splat(T(1) / i) + T(1);
    V finite = n == n ? n : V{};
    I exponent = __builtin_convertvector(finite, I) + I{} + Bits(sizeof(T) == 4 ? 127 : 1023);
    V scale = (V)(exponent << (sizeof(T) == 4 ? 23 : 52));
    return n == n ? p * scale : n;
}
static inline V activate(V z) {
    if (TANH) return T(1) - T(2) / (exponential(z + z) + T(1));
    return z <= V{} ? V{} : z;  // NaN stays NaN
}
static inline V times_slope(V gradient, V activation) {
    if (TANH) return gradient * (T(1) - activation * activation);
    return activation <= V{} ? V{} : gradient;
}

// C (M, columns) = A (M, K) · B (K, columns): a block of MR rows and NV vectors of columns stays in registers.
template <int MR, int NV, class Finish>
static inline void block(int K, const T *A, long row, long step, const T *B, long ldb, const Finish &finish) {
    constexpr int sets = MR * NV >= 8 ? 1 : MR * NV >= 4 ? 2 : MR * NV >= 2 ? 4 : 8;  // enough sums in flight
    V acc[sets][MR][NV] = {};
    int k = 0;
    for (; k + sets <= K; k += sets)
#pragma GCC unroll 8
        for (int q = 0; q < sets; q++)
#pragma GCC unroll 16
            for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++)
                    acc[q][r][v] += A[r * row + (k + q) * step] * load(B + (k + q) * ldb + v * L);
    for (; k < K; k++)
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) acc[0][r][v] += A[r * row + k * step] * load(B + k * ldb + v * L);
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
#pragma GCC unroll 8
            for (int q = 1; q < sets; q++) acc[0][r][v] += acc[q][r][v];
            finish(r, v * L, acc[0][r][v]);
        }
}
template <int M, int NV, class Finish>
static inline void strip(int K, const T *A, long row, long step, const T *B, long ldb, const Finish &finish) {
    constexpr int most = NV == 1 ? SUMS * 2 / 3 : SUMS / NV, MR = M < most ? M : most;
    int r = 0;
    for (; r + MR <= M; r += MR)
        block<MR, NV>(K, A + r * row, row, step, B, ldb, [&](int i, int c, V v) { finish(r + i, c, v); });
    if constexpr (M % MR != 0)
        block<M % MR, NV>(K, A + r * row, row, step, B, ldb, [&](int i, int c, V v) { finish(r + i, c, v); });
}
template <int M, class Finish>
static inline void product(int vectors, int K, const T *A, long row, long step, const T *B, long ldb, const Finish &finish) {
    int j = 0;
    auto at = [&](int r, int c, V v) { finish(r, j * L + c, v); };
    for (; j + WIDE <= vectors; j += WIDE) strip<M, WIDE>(K, A, row, step, B + j * L, ldb, at);
    if constexpr (WIDE == 4) {
        if (vectors - j == 3) strip<M, 3>(K, A, row, step, B + j * L, ldb, at);
        if (vectors - j == 2) strip<M, 2>(K, A, row, step, B + j * L, ldb, at);
    }
    if (vectors - j == 1) strip<M, 1>(K, A, row, step, B + j * L, ldb, at);
}

// dW (O, padded N) += dZ (O, rows) · Xᵀ (rows, N) as dot products along the rows; for few outputs or many rows.
template <int O, int N> static inline void dots(int vectors, const T *dZ, long ldz, const T *X, long ldx, T *dW) {
    constexpr int RO = O == 1 ? 1 : (L == 16 ? 4 : 2), RN = L / RO;
    for (int o = 0; o < O; o += RO)
        for (int n = 0; n < N; n += RN) {
            const T *a[RO], *b[RN];
            for (int i = 0; i < RO; i++) a[i] = dZ + (o + i < O ? o + i : O - 1) * ldz;
            for (int i = 0; i < RN; i++) b[i] = X + (n + i < N ? n + i : N - 1) * ldx;
            V acc[L] = {};
            for (int v = 0; v < vectors; v++)
#pragma GCC unroll 16
                for (int i = 0; i < RO; i++)
#pragma GCC unroll 16
                    for (int j = 0; j < RN; j++) acc[i * RN + j] += load(a[i] + v * L) * load(b[j] + v * L);
            V total = sums(acc);
            for (int i = 0; i < RO && o + i < O; i++)
                for (int j = 0; j < RN && n + j < N; j++) dW[(o + i) * padded(N) + n + j] += total[i * RN + j];
        }
}

// out (columns, ldo) = in (features, ldi)ᵀ, both padded to whole vectors
static inline void turn(int features, int vectors, const T *in, long ldi, T *out, long ldo) {
    for (int f = 0; f < features; f += L)
        for (int v = 0; v < vectors; v++) {
            V r[L];
            for (int i = 0; i < L; i++) r[i] = f + i < features ? load(in + (f + i) * ldi + v * L) : V{};
            transpose(r);
            for (int i = 0; i < L; i++) store(out + (v * L + i) * ldo + f, r[i]);
        }
}

struct Buffer {
    T *p;
    explicit Buffer(size_t n) : p((T *)std::aligned_alloc(64, (n * sizeof(T) + 63) / 64 * 64)) {
        if (p) std::memset(p, 0, n * sizeof(T));
    }
    ~Buffer() { std::free(p); }
    Buffer(const Buffer &) = delete;
    operator T *() const { return p; }
};

struct Batch {  // rows of one step, features first
    int rows, ld;
    Buffer x, turned, y;
    explicit Batch(int n) : rows(n), ld(padded(n)), x((size_t)padded(width[0]) * ld), turned((size_t)ld * padded(width[0])),
                            y((size_t)targets * ld) {}
    bool ready() const { return x.p && turned.p && y.p; }
    void fill(const T *inputs, const T *labels, const int32_t *order) {
        constexpr int W = padded(width[0]);
        for (int b = 0; b < rows; b++) {
            const long row = order ? order[b] : b;
            std::memcpy(turned + (long)b * W, inputs + row * W, W * sizeof(T));
            for (int t = 0; t < targets; t++) y[(long)t * ld + b] = labels[row * targets + t];
        }
        turn(ld, W / L, turned, W, x, ld);
    }
};

struct Network {  // one tile of rows: values and their gradients, one layer after another, (features, ld)
    static constexpr int ld = tile();
    Buffer values, turned, gradients;
    Network() : values(before(layers + 1) * ld), turned((size_t)ld * padded(widest())), gradients(before(layers + 1) * ld) {}
    bool ready() const { return values.p && turned.p && gradients.p; }
    static constexpr size_t before(int layer) {  // features of the hidden layers and the outputs that come before `layer`
        size_t n = 0;
        for (int i = 1; i < layer; i++) n += width[i];
        return n;
    }
    T *value(int l) const { return values + before(l) * ld; }
    T *slope(int l) const { return gradients + before(l) * ld; }

    template <int l = 0> void forward(const T *p, int vectors, const T *x, long ldx) const {
        if constexpr (l < layers) {
            T *z = value(l + 1);
            const T *bias = p + bias_at(l);
            product<width[l + 1]>(vectors, width[l], p + weights_at(l), padded(width[l]), 1, x, ldx, [&](int r, int c, V v) {
                v += bias[r];
                store(z + (long)r * ld + c, l + 1 < layers ? activate(v) : v);
            });
            forward<l + 1>(p, vectors, z, ld);
        }
    }
    // Adds to the gradient g. `turned` holds the inputs of layer l, rows first.
    template <int l = layers - 1> void backward(const T *p, T *g, int vectors, const T *x0, long ldx0, const T *rows0) const {
        constexpr int O = width[l + 1], N = width[l];
        const T *dz = slope(l + 1), *x = l ? value(l) : x0;
        // Both ways are exact; the number of shuffles decides: 2.8 per weight against a quarter per activation.
        if (11 * O <= vectors * L) dots<O, N>(vectors, dz, ld, x, l ? ld : ldx0, g + weights_at(l));
        else {
            if (l) turn(N, vectors, x, ld, turned, padded(N));
            product<O>(padded(N) / L, vectors * L, dz, ld, 1, l ? (const T *)turned : rows0, padded(N), [&](int r, int c, V v) {
                T *at = g + weights_at(l) + r * padded(N) + c;
                store(at, load(at) + v);
            });
        }
        for (int o = 0; o < O; o++) {
            V total = {};
            for (int c = 0; c < vectors * L; c += L) total += load(dz + (long)o * ld + c);
            g[bias_at(l) + o] += sum(total);
        }
        if constexpr (l > 0) {
            T *dx = slope(l);
            product<N>(vectors, O, p + weights_at(l), 1, padded(N), dz, ld, [&](int r, int c, V v) {
                store(dx + (long)r * ld + c, times_slope(v, load(x + (long)r * ld + c)));
            });
            backward<l - 1>(p, g, vectors, x0, ldx0, rows0);
        }
    }
};

// Summed loss of the rows of a tile, and the gradient of the batch's mean loss with respect to their outputs.
static double judge(const Network &net, int vectors, const T *y, long ldy, int rows, int n) {
    const T *out = net.value(layers);
    T *slope = net.slope(layers);
    constexpr int ld = Network::ld;
    double total = 0;
    for (int c = 0; c < vectors * L; c += L) {
        I lane;
        for (int i = 0; i < L; i++) lane[i] = c + i < rows;
        const auto real = lane != 0;
        auto put = [&](int o, V v) { store(slope + (long)o * ld + c, real ? v : V{}); };
        V loss = {};
        if (LOSS == 0) {
            for (int o = 0; o < outputs; o++) {
                V miss = load(out + (long)o * ld + c) - load(y + o * ldy + c);
                put(o, miss * T(2.0 / (double(n) * outputs)));
                loss += miss * miss * T(1.0 / outputs);
            }
        } else if (LOSS == 1) {
            V log_var = load(out + ld + c), miss = load(out + c) - load(y + c);
            V precision = exponential(-log_var), square = miss * miss + load(y + ldy + c);
            put(0, miss * precision * T(1.0 / n));
            put(1, (T(1) - square * precision) * T(0.5 / n));
            loss = (log_var + square * precision) * T(0.5);
        } else {
            V top = load(out + c), scale = {}, mass = {};
            for (int o = 1; o < outputs; o++) {
                V z = load(out + (long)o * ld + c);
                top = z <= top ? top : z;  // NaN wins
            }
            for (int o = 0; o < outputs; o++) scale += exponential(load(out + (long)o * ld + c) - top);
            for (int o = 0; o < outputs; o++) {
                V z = load(out + (long)o * ld + c) - top, q = load(y + o * ldy + c);
                loss -= q * z, mass += q;
                put(o, exponential(z) / scale * T(1.0 / n));
            }
            for (int o = 0; o < outputs; o++) {  // gradient: softmax times the mass of the targets, minus the targets
                T *g = slope + (long)o * ld + c;
                put(o, load(g) * mass - load(y + o * ldy + c) * T(1.0 / n));
            }
            for (int i = 0; i < L; i++) loss[i] += mass[i] * std::log(scale[i]);
        }
        for (int i = 0; i < L && c + i < rows; i++) total += loss[i];
    }
    return total;
}

// Mean loss of a batch, tile by tile; with its gradient, if `gradient` is given.
static double pass(const T *p, const Network &net, const Batch &batch, T *gradient) {
    double total = 0;
    for (int c = 0; c < batch.ld; c += net.ld) {
        const int columns = batch.ld - c < net.ld ? batch.ld - c : net.ld, left = batch.rows - c;
        net.forward(p, columns / L, batch.x + c, batch.ld);
        total += judge(net, columns / L, batch.y + c, batch.ld, left < columns ? left : columns, batch.rows);
        if (gradient) net.backward(p, gradient, columns / L, batch.x + c, batch.ld, batch.turned + (long)c * padded(width[0]));
    }
    return total / batch.rows;
}

struct State {
    Buffer gradient, first, second, best, last;
    State() : gradient(parameters), first(parameters), second(parameters), best(parameters), last(parameters) {}
    bool ready() const { return gradient.p && first.p && second.p && best.p && last.p; }
    void reset() {
        for (T *p : {(T *)first, (T *)second}) std::memset(p, 0, parameters * sizeof(T));
    }
    double squared_norm() const {
        V total[4] = {};
        for (int i = 0; i < parameters; i += L) total[i / L % 4] += load(gradient + i) * load(gradient + i);
        return sum((total[0] + total[1]) + (total[2] + total[3]));
    }
    void update(T *__restrict p, const Job &job, double rate, long step, double clip) const {
        T *__restrict g = gradient, *__restrict m = first, *__restrict v = second;
        const T scale = clip, decay = job.weight_decay;
        UPDATE
    }
};

static bool finite(const T *p) {
    V total = {};
    for (int i = 0; i < parameters; i += L) total += load(p + i) * T(0);  // 0, or NaN from an infinity or a NaN
    return sum(total) == 0;
}

static void train(const Job &job, long s, Batch &batch, Batch &held_out, const Network &net, State &state) {
    const T *inputs = job.inputs + job.own_inputs * s * job.rows * padded(width[0]);
    const T *labels = job.targets + job.own_targets * s * job.rows * targets;
    const int32_t *orders = job.orders ? job.orders + job.own_orders * s * job.order_steps * job.batch : nullptr;
    const double *rates = job.rates + job.own_rates * s * job.steps;
    T *p = job.parameters + s * parameters;
    double lowest = std::numeric_limits<double>::infinity();
    long since = 0;
    state.reset();
    std::memcpy(state.best, p, parameters * sizeof(T));
    if (job.validation_rows)
        held_out.fill(job.validation_inputs + job.own_held_inputs * s * job.validation_rows * padded(width[0]),
                      job.validation_targets + job.own_held_targets * s * job.validation_rows * targets, nullptr);
    job.failed_at[s] = -1;
    for (long t = 0; t < job.steps; t++) {
        if (t == 0 || (orders && job.order_steps > 1))
            batch.fill(inputs, labels, orders ? orders + t % job.order_steps * job.batch : nullptr);
        std::memset(state.gradient, 0, parameters * sizeof(T));
        job.loss[s] = pass(p, net, batch, state.gradient);
        const double square = state.squared_norm();
        job.stopped_at[s] = t;
        if (!std::isfinite(square) || !std::isfinite(job.loss[s])) {
            job.failed_at[s] = t;
            return;  // the update is not made: the parameters are the last finite ones
        }
        double clip = 1;
        if (job.clip_norm > 0) clip = std::fmin(1.0, job.clip_norm / (std::sqrt(square) + 1e-6));
        std::memcpy(state.last, p, parameters * sizeof(T));
        state.update(p, job, rates[t], t, clip);
        if (!finite(p)) {
            std::memcpy(p, state.last, parameters * sizeof(T));
            job.failed_at[s] = t;
            return;
        }
        job.stopped_at[s] = t + 1;
        if (job.validation_rows && (t + 1) % job.validate_every == 0) {
            const double loss = pass(p, net, held_out, nullptr);
            if (loss < lowest) lowest = loss, since = 0, std::memcpy(state.best, p, parameters * sizeof(T));
            else if (++since >= job.patience) break;
        }
    }
    if (job.validation_rows && std::isfinite(lowest)) std::memcpy(p, state.best, parameters * sizeof(T));
}

// Students from..until of the job. Returns 0, or 1 where memory ran out before any student was touched.
extern "C" int64_t train_students(const Job *job, int64_t from, int64_t until) {
    Batch batch(job->batch), held_out(job->validation_rows ? job->validation_rows : 1);
    Network net;
    State state;
    if (!(batch.ready() && held_out.ready() && net.ready() && state.ready())) return 1;
    for (int64_t s = from; s < until; s++) train(*job, s, batch, held_out, net, state);
    return 0;
}
