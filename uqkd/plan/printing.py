"""The plan as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from uqkd.estimators.intervals.level import percent
from uqkd.plan.planning import Plan


def lines(found: Plan) -> Iterator[str]:
    """Components, the sentence, what a unit more costs, and notes.

    Examples
    --------
    >>> from uqkd.plan import Costs, plan
    >>> found = plan({"prompt": 0.04, "student": 0.001, "decoding": 0.2}, Costs(student=300, draw=0.01, prompt=0.1), budget=3600)
    >>> print(list(lines(found))[-1])
      prompts 3,261: standard error -0.77 %, cost +1.6 %
    """
    parts = found.components
    yield "components of variance of one answer, the teacher's for one response"
    width = max(map(len, parts.effects))
    for effect, estimate in zip(parts.effects, parts.estimate, strict=True):
        yield f"  {effect:<{width}}  {estimate:.4g}"
    yield ""
    yield found.sentence
    if not np.isnan(found.standard_error.low):
        size = ", ".join(f"{count} {level}" for level, count in parts.size.items())
        yield f"in brackets the {percent(found.standard_error.level)} interval that a pilot of {size} leaves (normal effects)"
    for step in found.steps:
        yield f"  {step.level} {step.count:,}: standard error {-100 * step.gain:+.2g} %, cost {100 * step.price:+.2g} %"
    for note in found.notes:
        yield f"note: {note}"
