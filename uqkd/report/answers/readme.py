"""The table of answers in a README, held against the answers of a run, or written from them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from scipy import stats

from uqkd.errors import DataError
from uqkd.estimators import normal_quantile
from uqkd.report.answers import Answer
from uqkd.report.answers.measured import FAMILY
from uqkd.store import Store

_ROW = re.compile(r"^\| `(?P<study>\w+)` \|(?P<question>(?:[^|\\]|\\.)*)\|(?P<answer>(?:[^|\\]|\\.)*)\|$", re.MULTILINE)


def answers(store: Store) -> dict[str, Answer | None]:
    """The answer of every published study, by its name; None where it states none.

    Examples
    --------
    >>> answers(Store("memory://answers_of_nothing"))
    {}
    """
    found = {}
    for file in sorted(store.folder.names("figures")):
        if file.endswith(".json"):
            about = json.loads(store.folder.read(f"figures/{file}"))
            stated = about.get("answer")
            found[about["study"]] = Answer.from_json(stated) if stated else None
    return found


def widening(found: Mapping[str, Answer | None]) -> float:
    """How many times as wide limits are that hold for all numbers of all answers at once, with probability `FAMILY`.

    A page of some hundred numbers from another machine would be false somewhere if each had its own limits only.

    Examples
    --------
    >>> from uqkd.report.answers import Number
    >>> one = {"noise": Answer("", {"v": Number.measured(0.5, 0.4, 0.6)})}
    >>> round(widening(one), 2), round(widening({"noise": Answer("", {f"v{i}": Number.exact(1.0) for i in range(200)})}), 2)
    (1.68, 2.33)
    """
    count = sum(len(answer.numbers) for answer in found.values() if answer is not None)
    return float(stats.norm.isf((1.0 - FAMILY) / max(count, 1) / 2)) / normal_quantile()


def differences(text: str, found: Mapping[str, Answer | None]) -> list[str]:
    """Every sentence of a README's table of answers that a run does not carry, with the reason; one line each.

    Limits are those of all numbers at once, by `widening`.

    Parameters
    ----------
    text : str
        Of the README: its rows are "| `study` | question | answer |".
    found : mapping of study to Answer
        Of `answers`. A study without a row, a row without a published study, and a study that states no answer differ.

    Raises
    ------
    DataError
        The text holds no such table.

    Examples
    --------
    >>> from uqkd.report.answers import Number
    >>> found = {"noise": Answer("it is {v}", {"v": Number.measured(0.5, 0.4, 0.6, ".1f")})}
    >>> differences("| `noise` | how much? | it is 0.6 |", found)
    []
    >>> differences("| `noise` | how much? | it is 0.9 |", found)
    ['noise: v: 0.9 is said, 0.5 is found, 0.3 to 0.7 are allowed']
    """
    said, far = {row["study"]: _plain(row["answer"]) for row in _rows(text)}, widening(found)
    wrong = [f"{study}: it has a row, but these results hold no such study" for study in said if study not in found]
    wrong += [f"{study}: it is published, but has no row" for study in found if study not in said]
    for study in (study for study in said if study in found):
        answer = found[study]
        if answer is None:
            wrong.append(f"{study}: its row has an answer, but the study states none")
        else:
            wrong += [f"{study}: {difference}" for difference in answer.differences(said[study], widened=far)]
    return wrong


def written(text: str, found: Mapping[str, Answer | None]) -> str:
    """The README with the answers of a run in its rows; rows of other studies stay.

    Examples
    --------
    >>> written("| `noise` | how much? | much |", {"noise": Answer("none", {})})
    '| `noise` | how much? | none |'
    """

    def row(match: re.Match[str]) -> str:
        answer = found.get(match["study"])
        if answer is None:
            return match.group()
        return f"| `{match['study']}` |{match['question']}| {answer.text.replace('|', chr(92) + '|')} |"

    _rows(text)
    return _ROW.sub(row, text)


def _rows(text: str) -> list[re.Match[str]]:
    rows = list(_ROW.finditer(text))
    if not rows:
        raise DataError("there is no table of answers in this file; its rows are '| `study` | question | answer |'.")
    return rows


def _plain(cell: str) -> str:
    return cell.strip().replace("\\|", "|")
