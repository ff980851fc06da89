"""Theory held against simulation: every statement with its checks and the wrong versions they must reject."""

from uqkd.errors import OptionError
from uqkd.theory.checks import answers, components, planning, regression, weighting
from uqkd.theory.checks.check import (
    CHECKS,
    FAMILY_ALPHA,
    THRESHOLD,
    Check,
    Outcome,
    evaluate,
    moment,
    replicates_needed,
)

__all__ = [
    "CHECKS",
    "FAMILY_ALPHA",
    "THRESHOLD",
    "Check",
    "Outcome",
    "evaluate",
    "moment",
    "register",
    "replicates_needed",
]


def register() -> dict[str, Check]:
    """Every check by name; at most `CHECKS`, which share the family-wise error.

    Those of trained networks need torch, and are left out where it is not installed.

    Examples
    --------
    >>> len(register()) <= CHECKS
    True
    """
    rooms = (regression, components, weighting, answers, planning)
    checks = [check for room in rooms for check in room.all_checks()]
    try:
        from uqkd.theory.checks import networks
    except ModuleNotFoundError as missing:
        if missing.name != "torch":
            raise
    else:
        checks += networks.all_checks()
    found = {check.name: check for check in checks}
    if len(found) != len(checks) or len(found) > CHECKS:
        raise OptionError(f"the register needs distinct names and at most {CHECKS} checks; got {len(checks)}.")
    return found
