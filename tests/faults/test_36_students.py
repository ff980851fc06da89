"""Fault 36: what is odd about a student is seen to or told before training, whatever taught it."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pytest

from uqkd.errors import PreflightError
from uqkd.llm import Encoder, Prompts, Recipe, Response, Responses, SeedDesign, distill, weigh
from uqkd.llm.students.rows.training_rows import training_rows

PROMPTS = Prompts(("a", "b"), ("w5 w6", "w7"))
DATED = "{{ bos_token }}w1 {{ strftime_now('%d') }} {% for m in messages %}{{ m['content'] }} w8 {% endfor %}"
TURNS = "{% for m in messages %}<s> w9 {{ m['content'] }} w8 {% endfor %}<s> w7"


def answered(encoder, *texts):
    said = [Response(None, text) for text in texts]
    return weigh(Responses.gather(PROMPTS, said, (1, 2, 1)), "single")


def rows_of(encoder, targets):
    made = training_rows(
        targets, encoder, recipe=Recipe(steps=1), seed_design=SeedDesign.independent(1), key=("t", "rows")
    )
    return [[int(n) for n in row[0]] for row in made.table()]


def test_a_tokenizer_larger_than_the_embedding_is_noted_and_trains_until_a_text_needs_the_rest(make_model, tmp_path):
    path = make_model(tmp_path / "m")
    whole = Encoder.of(path).tokenizer
    whole.add_tokens(["<tool>"])
    whole.save_pretrained(path)
    encoder = Encoder.of(path)
    assert (len(encoder.tokenizer), encoder.vocabulary) == (257, 256)
    view = encoder.preflight(PROMPTS, max_tokens=8)
    assert any("no row for 1 tokens of the tokenizer ('<tool>')" in note for note in view.notes)
    how = {
        "encoder": encoder,
        "recipe": Recipe(steps=1),
        "seed_design": SeedDesign.independent(1),
        "key": ("t", "larger"),
    }
    made = distill(answered(encoder, "w1", "w2"), student=path, **how)
    assert np.isfinite(made.loss).all()
    with pytest.raises(
        PreflightError, match=r"1 of 2 distinct responses hold a token for which the student has no row: token 256"
    ):
        distill(answered(encoder, "w1", "w2 <tool>"), student=path, **how)


def test_a_student_whose_template_writes_bos_at_every_turn_is_taught(make_model, tmp_path):
    encoder = Encoder.of(make_model(tmp_path / "m", template=TURNS))
    rows = rows_of(encoder, answered(encoder, "w1", "w2"))
    assert [row.count(1) for row in rows] == [2, 2]
    assert rows[0][:2] == [1, 13]


def test_a_template_with_a_date_is_told_the_banks_day(make_model, tmp_path):
    """Prompts of a student that say another day than the teacher's are other prompts."""
    encoder = Encoder.of(make_model(tmp_path / "m", template=DATED))
    drawn = encoder.on_day("2024-02-03")
    found = [encoder.tokenizer.decode(rows_of(one, answered(one, "w1", "w2"))[0]) for one in (drawn, drawn)]
    assert found[0] == found[1]
    assert drawn.render(PROMPTS, max_tokens=4).identity == {"template_day": "2024-02-03"}
    assert encoder.day == datetime.date.today()


def test_tied_weights_are_saved_once_and_read_again_equal(make_model, tmp_path):
    """`--trainer transformers` stopped with KeyError: 'model.lm_head.weight' (row R5); every family: test_student_families."""
    path = make_model(tmp_path / "m", tie_word_embeddings=True)
    encoder = Encoder.of(path)
    for trainer in ("stacked", "sequential"):
        made = distill(
            answered(encoder, "w1", "w2"), student=path, encoder=encoder, recipe=Recipe(steps=2),
            seed_design=SeedDesign.independent(2),
            key=("t", trainer), engine=trainer, perturbation=0.1,
        )  # fmt: skip
        for s, folder in enumerate(made.save(tmp_path / trainer)):
            assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is True
            from transformers import AutoModelForCausalLM

            again = AutoModelForCausalLM.from_pretrained(folder)
            assert again.lm_head.weight is again.model.embed_tokens.weight
            assert (again.lm_head.weight == made.student(s).lm_head.weight).all()
