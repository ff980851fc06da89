"""Claims: verdicts follow from the numbers of answers, each number counts, and a flipped sign flips the verdict."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.report.test_figures import publish, table
from uqkd.cli import main
from uqkd.report import claims
from uqkd.report.answers import Answer, Number, readme
from uqkd.report.claims import CLAIMS, VERDICTS, Claim, Condition, above, below
from uqkd.store import Store

ROOT = Path(__file__).parents[2]
RULED = [claim for claim in CLAIMS if claim.study]
NAMES = [f"{claim.study}: {claim.text}" for claim in RULED]
REACH = 0.01  # half the width of every made-up number


def placed(conditions):
    """Values of numbers for which all these conditions hold."""
    values = {}
    for condition in conditions:
        low, high = (values.get(end, end) for end in (condition.low, condition.high))
        if isinstance(low, str) or isinstance(high, str):  # the other number is not placed yet
            own = values.setdefault(condition.number, 0.0)
            values |= {condition.low: own - 1.0} if isinstance(low, str) else {condition.high: own + 1.0}
        else:
            middle = (low + high) / 2 if None not in (low, high) else low + 1.0 if high is None else high - 1.0
            if high is not None and low is None and high > 0.0:
                middle = high / 2
            values.setdefault(condition.number, middle)
    return values


def numbers_of(claim, values, reach=REACH):
    """Numbers of an answer that has all that a claim needs; what the conditions do not name is 0."""
    scale = {name: min(reach, abs(value) / 4 or reach) if reach == REACH else reach for name, value in values.items()}
    named = {name: (values.get(name, 0.0), scale.get(name, reach)) for name in claim.needs}
    return {name: Number.measured(v, v - r, v + r, ".2f") for name, (v, r) in named.items()}


def verdict(claim, values, reach=REACH):
    return claim.verdict({claim.study: Answer("", numbers_of(claim, values, reach))})


def mirrored(condition, values):
    """The numbers with that of the condition moved to the other side of its end."""
    ends = [values.get(end, end) for end in (condition.low, condition.high) if end is not None]
    if len(ends) == 2:
        return {**values, condition.number: ends[0] - 2 * abs(ends[0]) - 1.0}
    return {**values, condition.number: 2 * ends[0] - values[condition.number]}


@pytest.mark.parametrize("claim", RULED, ids=NAMES)
def test_every_condition_counts_and_its_sign_too(claim):
    values = placed([*claim.conditions, *claim.bounds])
    assert verdict(claim, values) == "confirmed"
    flipped = values
    for condition in claim.conditions:
        expected = "refuted" if len(claim.conditions) == 1 else "bounded"
        assert verdict(claim, mirrored(condition, values)) == expected
        flipped = mirrored(condition, flipped)
    assert verdict(claim, flipped) == "refuted"
    for bound in claim.bounds:
        assert verdict(claim, mirrored(bound, values)) in ("bounded", "refuted")  # a bound may share its number
    assert verdict(claim, values, reach=1e3) == "undecided"


@pytest.mark.parametrize("claim", RULED, ids=NAMES)
def test_what_is_missing_was_not_run(claim):
    numbers = numbers_of(claim, placed([*claim.conditions, *claim.bounds]))
    assert claim.verdict({}) == claim.verdict({claim.study: None}) == "not run"
    for name in claim.needs:
        less = {other: number for other, number in numbers.items() if other != name}
        found = {claim.study: Answer("", less)}
        assert (claim.verdict(found), claim.answer(found)) == ("not run", None)


def test_claims_name_studies_that_exist_and_none_twice():
    assert {claim.study for claim in RULED} <= {file.stem for file in (ROOT / "studies").glob("*.py")}
    assert all(claim.conditions and claim.result for claim in RULED)
    assert len({(claim.text, claim.study) for claim in CLAIMS}) == len(CLAIMS)
    assert [claim.verdict({}) for claim in CLAIMS if not claim.study] == ["not measured"]


def test_an_end_that_is_met_is_open():
    at = {"a": Number.measured(0.0, -0.1, 0.1), "b": Number.measured(0.15, 0.1, 0.2), "c": Number.exact(0.0)}
    assert [below("a", "b").seen(at), above("a", "b").seen(at), below("c").seen(at)] == ["open"] * 3
    assert Condition("b", 0.05, 0.3).seen(at) == "holds"
    assert [Condition("b", 0.15, 0.3).seen(at), Condition("b", 0.3, 0.4).seen(at), below("b", 0.05).seen(at)] == [
        "open", "fails", "fails",
    ]  # fmt: skip


FALLS = Claim("it falls | far", "someone", "demo", "by {gain} of |z|", (below("gain"),), (below("cost", 0.5),))
HOLDS = Answer("well", {"gain": Number.measured(-0.3, -0.4, -0.2, "+.1f"), "cost": Number.measured(0.1, 0.0, 0.2)})
MARKED = "# Title\n\n<!-- claims -->\n<!-- /claims -->\n\nEnd\n"


def test_a_readme_is_written_and_held_against_a_run():
    some = (FALLS, Claim("it rises", "someone"))
    text = claims.written(MARKED, {"demo": HOLDS}, some)
    assert "| by −0.3 of \\|z\\| | `demo` | *confirmed* |" in text
    assert "| it rises | someone |  | – | *not measured* |" in text
    assert text.startswith("# Title")
    assert text.endswith("<!-- /claims -->\n\nEnd\n")
    assert claims.differences(text, {"demo": HOLDS}, some) == []
    assert claims.differences(text.replace("−0.3", "−0.4"), {"demo": HOLDS}, some) == []
    flipped = {**HOLDS.numbers, "gain": Number.measured(0.3, 0.2, 0.4, "+.1f")}
    wrong = claims.differences(text, {"demo": Answer("", flipped)}, some)
    assert wrong == [
        'claim "it falls | far" (demo): *confirmed* is said, *refuted* is found',
        'claim "it falls | far" (demo): gain: −0.3 is said, +0.3 is found, +0.1 to +0.5 are allowed',
    ]
    assert claims.differences(text, {"demo": HOLDS}, some[:1]) == [
        'claim "it rises" (): it has a row, but is not among the claims'
    ]
    assert claims.differences(MARKED, {}, some[:1]) == ['claim "it falls | far" (demo): it has no row']
    assert claims.differences("no marks", {}, some) == []


def test_the_table_is_written_after_a_run_and_the_command_checks_it(tmp_path, capsys):
    claim = RULED[1]
    values = placed([*claim.conditions, *claim.bounds])
    store = Store(tmp_path / "results")
    publish(store, table(), study=claim.study, answer=Answer("well", numbers_of(claim, values)))
    assert claims.write(store) == "tables/claims.csv"
    rows = list(csv.DictReader(io.StringIO(store.folder.read("tables/claims.csv").decode())))
    assert [row["claim"] for row in rows] == [one.text for one in CLAIMS]
    own = next(row for row in rows if (row["claim"], row["study"]) == (claim.text, claim.study))
    assert own["verdict"] == "confirmed"
    assert {row["verdict"] for row in rows} <= set(VERDICTS)
    file = tmp_path / "README.md"
    file.write_text(f"| `{claim.study}` | what? | old |\n{MARKED}")

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(["answers", str(tmp_path / "results"), *words])
        return ended.value.code, capsys.readouterr().err

    assert call("--write", str(file))[0] == 0
    assert call("--check", str(file)) == (0, "")
    about = tmp_path / f"results/figures/{claim.study}.json"
    stated = json.loads(about.read_text())
    numbers = stated["answer"]["numbers"]
    for name in {condition.number for condition in claim.conditions}:
        high = next(condition.high for condition in claim.conditions if condition.number == name)
        far = numbers[high]["high"] + 1.0 if isinstance(high, str) else high + 1.0
        numbers[name] |= {"value": far, "low": far, "high": far}
    about.write_text(json.dumps(stated))
    code, said = call("--check", str(file))
    assert code == 1
    assert f'claim "{claim.text}" ({claim.study}): *confirmed* is said, *refuted* is found' in said
    assert readme.answers(store)[claim.study] is not None
