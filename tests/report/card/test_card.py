"""What a card says: before and after measuring, of lost students, of banks of text, and that nothing breaks out of it."""

import json

import pytest
from huggingface_hub import ModelCard

from uqkd.errors import DataError
from uqkd.report.card import card_of, keep_facts, merged, read_facts

BANK = {
    "teacher": "big|`model`", "place": "answers", "fingerprint": "f" * 32, "prompts": 1200, "responses": 8, "cut": 3, "empty": 0,
    "identity": {"revision": "abc", "backend": "vllm", "temperature": 0.7, "max_tokens": 32, "top_p": 1.0, "logprobs": "processed",
                 "key": ["llm", "bank"]},
    "prompt_keys": ["00"],
}  # fmt: skip
TRAINED = {
    "students": 3, "weights": "multi", "k": 2, "steps": 50, "batch": 8, "lr": 1e-4, "optimiser": "adamw", "schedule": "cosine",
    "lora": 8, "lora_layers": None, "fresh": False, "base": "org/base", "model": "rev", "bank": BANK, "failed": {"1": 17},
    "freeze": ["order"], "command": ["distill", "--bank", "my answers", "--student", "org/base"],
}  # fmt: skip


def row(quantity, estimate, low=None, high=None, why="", **more):
    beside = dict.fromkeys(f"undistilled{end}" for end in ("", "_low", "_high"))
    return {
        "quantity": quantity,
        "estimate": estimate,
        "low": low,
        "high": high,
        "unit": "share",
        "why": why,
        **beside,
        **more,
    }


def measured(*rows, learnt=0, fingerprint="one", **more):
    return {
        "prompts": {"fingerprint": fingerprint, "count": 40, "learnt": learnt, "answered": 40}, "level": 0.95, "draws": 4,
        "sampled": "as the teacher was", "clusters": "normalised", "teacher": None, "undistilled": "org/base", "table": "t.csv",
        "quantities": list(rows), "students": [], "examples": [], "command": ["measure", "--students", "s"], **more,
    }  # fmt: skip


@pytest.fixture
def students(tmp_path):
    """Students 0 and 2 of three, as `uqkd distill --exclude-failed` leaves them."""
    for s in (0, 2):
        (tmp_path / f"student-{s}").mkdir()
        (tmp_path / f"student-{s}" / "distilled.json").write_text(json.dumps({"loss": 1.25 + s, "students": 3}))
    keep_facts(tmp_path, trained=TRAINED)
    return tmp_path


def text_of(root, folder="student-0"):
    return merged(card_of(read_facts(root), folder))


def test_before_it_is_measured_a_card_says_that_nothing_is_known(students):
    text = text_of(students)
    assert "Nothing yet." in text
    assert "**is not known** until `uqkd measure`" in text
    assert "- anything: these students have not been measured" in text
    assert "κ" not in text.split("### Not measured")[1]


def test_a_card_names_teacher_bank_students_and_commands(students):
    text = text_of(students, "student-2")
    assert (
        "| teacher | `big\\|'model'`, revision `abc` |" in text
    )  # what would end a cell or a code is written otherwise
    assert "1,200 prompts, 8 responses to each; 3 of all were cut, 0 empty" in text
    assert "temperature 0.7, max_tokens 32, a seed for each response, processed log-probabilities" in text
    assert "weights `multi` of k = 2 responses to each prompt: all of them, 1/k each" in text
    assert "adapters of rank 8, 50 steps of 8 responses" in text
    assert "3.250 nats a token" in text
    assert "uqkd distill --bank 'my answers' --student org/base" in text
    assert "--temperature 0.7 --max-tokens 32" in text
    assert "--top-p" not in text


def test_a_diverged_student_is_counted_and_named(students):
    text = text_of(students)
    assert "S = 2, of 3 that were begun" in text
    assert "1 of 3 students, which diverged (student-1 at step 17) and were left out" in text
    assert "students that diverge are not a random part" in text
    assert ModelCard(text).data["uqkd"]["diverged_or_missing"] == 1


def test_numbers_stand_with_their_intervals_for_people_and_machines(students):
    rows = [row("inter_gini", 0.25, 0.125, 0.5), row("intra_gini", 0.3, 0.2, 0.4, undistilled=0.6),
            row("share_kept", 0.5, 0.25, 1.0),
            row("unsupported", -0.00001, why="no variation | twice."), row("perplexity", 3.0)]  # fmt: skip
    keep_facts(students, measured=measured(*rows))
    text = text_of(students)
    assert "| 0.250 [0.125, 0.500] | – | share |" in text
    assert "| 0.300 [0.200, 0.400] | 0.600 | share |" in text
    assert "| 0.000 | – | share |" in text  # a rounded zero has no sign
    assert "No variation; twice." in text
    (found,) = ModelCard(text).data["uqkd"]["measured"]
    assert found["inter_gini"] == [0.25, 0.125, 0.5]
    assert (found["prompts"], found["learnt_prompts"], found["level"]) == (40, 0, 0.95)
    assert "perplexity" not in found


@pytest.mark.parametrize(
    ("change", "says", "silent"),
    [
        ({}, "there were no responses of the teacher beside the students (--teacher-bank)", "no log-probabilities"),
        ({}, "the prompts have no reference answers", "were trained on: every"),
        (
            {"learnt": 40},
            "prompts that the students were not trained on: every prompt here is one of those",
            "none of them was",
        ),
        (
            {"learnt": 0},
            "the prompts that the students were trained on: none of them was asked here",
            "every prompt here",
        ),
        (
            {"learnt": None},
            "which of the prompts the students were trained on: that is not recorded",
            "none of them was",
        ),
        ({"learnt": 7}, "7 of them learnt", "none of them was asked"),
        (
            {"teacher": {"learnt": True, "responses": 4, "fingerprint": "x"}},
            "**which the students learnt**",
            "No responses of the",
        ),
        ({"undistilled": None}, "what the model said before it was distilled", "nothing at all"),
        ({"clusters": "nli"}, "safety, bias", "whether answers of different wording"),
        ({"clusters": "normalised"}, "whether answers of different wording", "hardly two answers"),
    ],
)
def test_what_was_not_measured_is_said(students, change, says, silent):
    rows = [row("intra_gini", 0.3), row("perplexity", 3.0)]
    keep_facts(students, measured=measured(*rows, **change))
    text = text_of(students)
    assert says in text
    assert silent not in text


def test_what_was_measured_is_not_listed_as_missing(students):
    rows = [
        row("intra_gini", 0.95),
        row("share_kept", 0.9, 0.8, 1.0),
        row("unsupported", 0.5, 0.4, 0.6),
        row("perplexity", 2.0),
    ]
    keep_facts(students, measured=measured(*rows, teacher={"learnt": False, "responses": 4, "fingerprint": "x"}))
    missing = text_of(students).split("### Not measured")[1]
    assert "--teacher-bank" not in missing
    assert "reference answers" not in missing.split("### How")[0]
    assert "hardly two answers of a student are alike here" in missing
    assert "what a third student would be" in missing  # there are two
    assert "what differing order would add between students" in missing


def test_other_prompts_are_added_and_the_same_ones_replaced(students):
    keep_facts(students, measured=measured(row("intra_gini", 0.1, 0.0, 0.2)))
    keep_facts(students, measured=measured(row("intra_gini", 0.4, 0.3, 0.5), fingerprint="two", learnt=40))
    keep_facts(students, measured=measured(row("intra_gini", 0.2, 0.1, 0.3)))
    facts = read_facts(students)
    assert [one["prompts"]["fingerprint"] for one in facts.measured] == ["two", "one"]
    text = text_of(students)
    assert "0.100 [" not in text
    assert "### Measured on 40 prompts, all of them learnt" in text
    assert "none of them was asked here" not in text


def test_a_bank_of_text_alone(students):
    identity = {"backend": "import", "seeds": "unknown", "logprobs": "none", "revision": "unknown"}
    keep_facts(students, trained={**TRAINED, "bank": {**BANK, "teacher": "somebody", "identity": identity}})
    text = text_of(students)
    assert "`somebody`, by name only: its responses were imported" in text
    assert "seeds unknown, no log-probabilities" in text
    assert "whether the teacher's responses are independent: their seeds are unknown" in text
    assert "uqkd import RESPONSES --teacher somebody --bank answers" in text


def test_students_older_than_their_card(tmp_path):
    (tmp_path / "student-0").mkdir()
    (tmp_path / "student-0" / "distilled.json").write_text(
        json.dumps({"weights": "single", "k": 1, "bank": "b" * 32, "loss": 2.0})
    )
    text = text_of(tmp_path)
    assert "| teacher | not recorded |" in text
    assert "who the teacher was, and how it was asked: these students are older than their card" in text
    assert f"`{'b' * 32}`" in text
    (tmp_path / "student-0" / "distilled.json").unlink()
    assert "weights `not recorded`" in text_of(tmp_path)


@pytest.mark.parametrize(
    "evil", ["-->\n<script>x</script>", "| a | b |", "```\nrm\n```", "---\nlicense: mit\n---", "‮abc", "`' \" \\"]
)
def test_names_cannot_break_out(students, evil):
    keep_facts(students, trained={**TRAINED, "bank": {**BANK, "teacher": evil, "place": evil}, "weights": evil})
    text = text_of(students)
    assert merged(card_of(read_facts(students), "student-0"), text) == text
    card = ModelCard(text)
    assert card.data["teacher"] == evil
    assert card.data.get("license") is None
    assert all(line.count(" |") == 2 for line in card.text.splitlines() if line.startswith("| teacher"))
    assert card.text.count("```") == 2
    outside = [line for line in card.text.splitlines() if "<script" in line and not line.startswith("uqkd ")]
    assert all(line.index("`") < line.index("<script") for line in outside)  # within code


def test_damaged_facts_are_told_in_a_line(students):
    (students / "card.json").write_text("{")
    with pytest.raises(DataError, match=r"card\.json of '.*' cannot be read"):
        read_facts(students)
