"""Answers: a sentence passes exactly where its words and numbers are those of the run; a README's table likewise."""

import dataclasses
import json

import pytest

from tests.report.test_figures import publish, table
from uqkd import seeds
from uqkd.cli import main
from uqkd.errors import DataError, OptionError
from uqkd.estimators import normal_quantile
from uqkd.report.answers import Answer, Number, readme
from uqkd.store import Store

REACH = normal_quantile() * 2**0.5  # of the difference of two runs
ANSWER = Answer(
    "it **helps** by {gain}, at most {most}, in {count} of 12; {share} stay, {ratio} of them [sic]",
    {
        "gain": Number.measured(-0.034, -0.05, -0.02, "+.3f", shows="limits"),
        "most": Number.measured(1234.0, 1100.0, 1400.0, ",.0f"),
        "count": Number.exact(7, "d"),
        "share": Number.measured(0.25, 0.2, 0.3, ".0%"),
        "ratio": Number.measured(2.0, 1.8, 2.1, ".1f", shows="reach"),
        "beside": Number.exact(0.5),
    },
)
SAID = "it helps by −0.034 [−0.050, −0.020], at most 1,234, in 7 of 12; 25 % stay, 2.0 ± 0.2 of them [sic]"


def test_the_text_is_the_sentence_with_its_numbers():
    assert ANSWER.text.replace("**", "") == SAID
    assert ANSWER.differences(SAID) == ANSWER.differences(ANSWER.text) == []
    assert Answer.from_json(json.loads(json.dumps(ANSWER.to_json()))) == ANSWER


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("−0.034", "−0.015", "gain"),
        ("−0.034", "+0.034", "gain"),
        ("1,234", "1,401", "most"),
        ("7 of", "8 of", "count"),
        ("25 %", "31 %", "share"),
        ("2.0 ±", "2.3 ±", "ratio"),
        ("helps", "hurts", "the sentence is"),
        ("stay", "go", "the sentence is"),
        ("25 %", "0.25", "the sentence is"),
        ("[sic]", "s", "the sentence is"),
    ],
)
def test_a_false_number_or_word_is_named(old, new, named):
    (difference,) = ANSWER.differences(SAID.replace(old, new, 1))
    assert difference.startswith(named)


@pytest.mark.parametrize(
    ("old", "new"), [("−0.034", "−0.045"), ("1,234", "1,100"), ("25 %", "30 %"), ("± 0.2", "± 0.3")]
)
def test_what_another_run_may_find_passes(old, new):
    assert ANSWER.differences(SAID.replace(old, new, 1)) == []


def test_a_flipped_sign_in_the_results_fails_the_sentence():
    gain = ANSWER.numbers["gain"]
    flipped = dataclasses.replace(gain, value=-gain.value, low=-gain.high, high=-gain.low)
    (difference,) = Answer(ANSWER.sentence, {**ANSWER.numbers, "gain": flipped}).differences(SAID)
    assert difference == "gain: −0.034 is said, +0.034 is found, +0.020 to +0.050 are allowed"


def test_numbers_must_be_finite_and_named():
    for value, low, high in ((float("nan"), 0.0, 1.0), (0.5, 0.6, 1.0), (0.5, 0.0, float("inf"))):
        with pytest.raises(DataError, match="finite limits"):
            Number.measured(value, low, high)
    with pytest.raises(OptionError, match=r"names 'gian'"):
        Answer("by {gian}", ANSWER.numbers)
    with pytest.raises(OptionError, match="did you mean 'limits'"):
        Number.measured(0.5, 0.4, 0.6, shows="limit")


@pytest.fixture
def results(tmp_path):
    store = Store(tmp_path / "results")
    publish(store, table(), answer=ANSWER, group="linear")
    publish(store, table(), study="silent")
    return tmp_path


def readme_of(folder, *rows):
    file = folder / "README.md"
    file.write_text("\n".join(["# Title", "| study | question | answer |", "|---|---|---|", *rows, "", "End"]))
    return file


def test_every_row_is_held_against_its_study(results):
    found = readme.answers(Store(results / "results"))
    assert found == {"demo": ANSWER, "silent": None}
    text = readme_of(results, f"| `demo` | what? | {SAID} |").read_text()
    assert readme.differences(text, {"demo": ANSWER}) == []
    assert readme.differences(text, found) == ["silent: it is published, but has no row"]
    assert readme.differences(text, {"other": None}) == [
        "demo: it has a row, but these results hold no such study",
        "other: it is published, but has no row",
    ]
    with pytest.raises(DataError, match="no table of answers"):
        readme.differences("nothing", found)


def test_the_command_prints_writes_and_checks(results, capsys):
    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(["answers", str(results / "results"), *words])
        said = capsys.readouterr()
        return ended.value.code, said.out + said.err

    assert call() == (0, f"demo: {ANSWER.text}\nsilent: states no answer\n")
    file = readme_of(results, "| `demo` | what \\| which? | old |", "| `silent` | what? | **said** |")
    code, said = call("--check", str(file))
    assert code == 1
    assert "demo: the sentence is 'old'" in said
    assert "silent: its row has an answer, but the study states none" in said
    assert call("--write", str(file))[0] == 0
    rows = file.read_text().splitlines()
    assert rows[3:5] == [f"| `demo` | what \\| which? | {ANSWER.text} |", "| `silent` | what? | **said** |"]
    assert (rows[0], rows[-1]) == ("# Title", "End")
    assert call("--check", str(results / "no.md"))[0] == 2


def test_bars_in_a_sentence_survive_the_table():
    answer = Answer("largest |z| {z}", {"z": Number.measured(2.7, 0.0, 4.0, ".1f")})
    text = readme.written("| `a` | b | c |", {"a": answer})
    assert text == r"| `a` | b | largest \|z\| 2.7 |"
    assert readme.differences(text, {"a": answer}) == []


def test_an_unknown_group_names_the_nearest(results):
    with pytest.raises(OptionError, match="'classify'"):
        publish(Store(results / "results"), table(), group="clasify")


def test_true_numbers_of_a_page_from_another_machine_pass_together():
    """Of 200 numbers each within its own limits in 95 % of runs, all are within the widened ones but in one run of a thousand."""
    here, there = seeds.generator("tests", "answers", "family").normal(size=(2, 50, 200))
    wrong = {"own": 0, "family": 0}
    for mine, other in zip(here, there, strict=True):
        numbers = {f"v{i}": Number.measured(v, v - REACH, v + REACH, ".6f") for i, v in enumerate(mine)}
        found = {"demo": Answer(" ".join(f"{{{name}}}" for name in numbers), numbers)}
        said = " ".join(f"{v:.6f}".replace("-", "−") for v in other)
        wrong["own"] += bool(found["demo"].differences(said))
        wrong["family"] += bool(readme.differences(f"| `demo` | what? | {said} |", found))
    assert wrong["own"] == 50
    assert wrong["family"] <= 2  # of 50 at .001 each: more has probability 2e-5
