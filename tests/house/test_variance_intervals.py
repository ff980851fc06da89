"""No study, command, table or report gives a variance as an estimate ± a normal quantile of its standard error.

Of few students that covered 60 to 91 % of what it promised; `.mean.interval`, `table_interval` or `variance_half_widths` instead.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("studies", "uqkd/cli", "uqkd/llm/measuring", "uqkd/report", "uqkd/testbeds")
BY_ERROR = re.compile(
    r"\bnormal_half_width\b|\b(normal_quantile\(\)|NORMAL|quantile)\s*\*\s*\w*(_se|error)|(_se|error)\w*\s*\*\s*normal_quantile"
)
# Not the interval of an estimate: what a Gaussian student predicts for a response, whose variance it reports.
PREDICTED = {"studies/intra_suppression.py": "normal_half_width(np.sqrt(students.head_var))"}


def uses(source: str, allowed: str = "") -> list[str]:
    """Lines that make an interval so, but for imports and what is allowed."""
    found = [line.strip() for line in source.splitlines() if BY_ERROR.search(line)]
    return [line for line in found if "import " not in line and not (allowed and allowed in line)]


def test_such_a_line_is_found():
    assert uses("from uqkd.estimators import normal_half_width\nbars = normal_half_width(error)") == [
        "bars = normal_half_width(error)"
    ]
    assert uses("reach = normal_quantile() * inter_se")
    assert uses("inside = normal_half_width(np.sqrt(head_var))", "normal_half_width(np.sqrt(head_var))") == []
    assert uses("reach = half_width(error, students)") == []


def test_no_variance_is_given_by_its_standard_error():
    files = [file for place in PLACES for file in sorted((ROOT / place).rglob("*.py"))]
    assert len(files) > 40
    names = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}
    found = {name: uses(source, PREDICTED.get(name, "")) for name, source in names.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}
