"""What becomes of published claims: verdicts computed from the numbers of studies' answers."""

from __future__ import annotations

from uqkd.report.claims.published import CLAIMS
from uqkd.report.claims.rule import VERDICTS, Claim, Condition, above, below
from uqkd.report.claims.table import differences, judged, write, written

__all__ = ["CLAIMS", "VERDICTS", "Claim", "Condition", "above", "below", "differences", "judged", "write", "written"]
