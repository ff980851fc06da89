"""The plan as one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.plan.costs import Costs, Design
from uqkd.plan.prediction import Question

if TYPE_CHECKING:
    from uqkd.plan.planning import Step

_ORDINALS = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
)
_ONE = {"k": "response", "students": "student", "draws": "answer"}
_REPORTED = {"mean": "standard error", "inter": "standard error of the inter-student variance"}


def sentence(design: Design, error: Interval, costs: Costs, *, steps: Sequence[Step], question: Question) -> str:
    """What is best, how sure it will be, and what a unit more of each level buys."""
    train = design.prompts if costs.train_prompts is None else costs.train_prompts
    what = (
        f"{counted(design.k, 'response')} to each of {train:,} prompts, {counted(design.students, 'student')}, "
        f"{counted(design.draws, 'answer')} to each of {design.prompts:,} prompts"
    )
    limits = "" if np.isnan(error.low) else f" [{error.low:.2g}, {error.high:.2g}]"
    text = f"{what}: {_REPORTED[question.quantity]} ± {error.estimate:.2g}{limits} for {costs.of(design):,.6g}"
    bought = [(_more(step, design), _share(step.gain)) for step in steps]
    verbs = [" buys ", *[" "] * len(bought)]
    said = ", ".join(f"{more}{verb}{share}" for (more, share), verb in zip(bought, verbs, strict=False))
    return f"{text}; {said}" if said else text


def _more(step: Step, design: Design) -> str:
    if step.level == "prompts":
        return f"{counted(step.count - design.prompts, 'more prompt')}"
    return f"{ordinal(step.count)} {_ONE[step.level]}"


def _share(share: float) -> str:
    percent = 100.0 * share
    if abs(percent) >= 0.95 or percent == 0:
        return f"{percent:.0f} %"
    return "less than 0.1 %" if abs(percent) < 0.1 else f"{percent:.1g} %"


def counted(count: int, what: str) -> str:
    """A count with its noun.

    Examples
    --------
    >>> counted(1, "student"), counted(2000, "prompt")
    ('1 student', '2,000 prompts')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def ordinal(count: int) -> str:
    """The ordinal with its article.

    Examples
    --------
    >>> ordinal(9), ordinal(8), ordinal(21), ordinal(113)
    ('a ninth', 'an eighth', 'a 21st', 'a 113th')
    """
    if count <= len(_ORDINALS):
        word = _ORDINALS[count - 1]
    else:
        ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
        word = f"{count:,}{ending}"
    return f"{'an' if word[:1] in ('8', 'e') or word.startswith(('11th', '18th')) else 'a'} {word}"
