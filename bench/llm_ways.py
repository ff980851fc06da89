"""Where `engine="auto"` changes from all students in one pass to one after another: both ways, by the size of a student."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.llm_training import some_rows
from bench.measuring import Row, paired
from uqkd.llm import Recipe
from uqkd.llm.students.networks.initializer import Initializer
from uqkd.llm.students.training.engine_choice import chosen_engine
from uqkd.llm.students.training.ways_to_train import Compute, Split, stacked_of, train_sequential, train_stacked

STUDENTS, STEPS, BATCH, ROUNDS = 4, 6, 8, 3
SLOWER = 1.15  # where both ways take about as long, either will do
SIZES = ((512, 64, 2), (512, 160, 4), (512, 256, 4), (512, 384, 4), (49_152, 16, 1), (49_152, 48, 2), (49_152, 96, 4))


def config(vocabulary: int, width: int, layers: int) -> Any:
    """A Llama with tied embeddings."""
    from transformers import LlamaConfig

    heads = max(width // 32, 1)
    return LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=256, tie_word_embeddings=True,
    )  # fmt: skip


def compared(vocabulary: int, width: int, layers: int) -> Row:
    """Seconds a student-step in both ways, and whether the faster one is chosen."""
    recipe, key = Recipe(steps=STEPS, batch=BATCH, optimiser="adamw", lr=1e-4, clip_norm=1.0), ("bench", "ways")
    rows = some_rows(recipe, students=STUDENTS)
    rows = replace(rows, tokens=rows.tokens % vocabulary)
    initializer = Initializer.of(config(vocabulary, width, layers))
    begin = [initializer.parameters(s, key=key, adapter=s, shared=True) for s in range(STUDENTS)]

    def stacked() -> None:
        train_stacked(
            stacked_of(initializer, begin, key=key, dropout=range(STUDENTS), device="cpu"), Split(rows), recipe
        )

    def in_turn() -> None:
        train_sequential(
            initializer, Split(rows), recipe, levels=[(s, s, s) for s in range(STUDENTS)], key=key, compute=Compute(),
            finish=lambda *_: None, shared=True,
        )  # fmt: skip

    together, one_by_one, _ = paired(stacked, in_turn, rounds=ROUNDS)
    chosen = chosen_engine("auto", initializer, Compute())
    times = {"stacked": together, "sequential": one_by_one}
    ratio = times[chosen] / min(times.values())
    size = sum(p.numel() for p in initializer.template.parameters() if p.requires_grad)
    count = STEPS * STUDENTS
    return Row(
        f"students of {size / 1e6:.2f} M parameters, vocabulary {vocabulary:,}, S = {STUDENTS}, auto is {chosen}",
        f"stacked {1e3 * together / count:.1f} ms a student-step",
        f"sequential {1e3 * one_by_one / count:.1f} ms",
        ratio,
        f"<= {SLOWER} of the faster way",
        ratio <= SLOWER,
    )


def rows() -> list[Row]:
    """A row for each size."""
    return [compared(*size) for size in SIZES]
