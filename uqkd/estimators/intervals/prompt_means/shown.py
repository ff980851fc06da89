"""What intervals of means over prompts covered in simulations, for their notes: from docs/coverage/variance_means.csv."""

from __future__ import annotations

from uqkd.estimators.intervals.level import percent

MEASURED_AT = 0.95  # the level of the table, whatever `LEVEL` is
DATA = {
    "normal": "normal",
    "binary": "0/1",
    "t5": "t (5 degrees of freedom)",
    "exponential": "exponential",
    "lognormal": "lognormal",
}

# Percent covered by number of students, lowest and highest over 5, 20 and 100 prompts, 2 and 8 responses (inter; of the others 2),
# and effects that are common to all prompts, of their own for each, or both: `spans` of uqkd.theory.coverage.variance_means, of the
# table in docs/coverage; a test holds it to that.
COVERED: dict[tuple[str, str], dict[int, dict[str, tuple[int, int]]]] = {
    ("inter", "fixed"): {
        3: {"normal": (90, 99), "binary": (95, 100), "t5": (89, 98), "exponential": (82, 98), "lognormal": (74, 95)},
        5: {"normal": (95, 99), "binary": (96, 100), "t5": (93, 97), "exponential": (87, 97), "lognormal": (76, 94)},
        10: {"normal": (97, 99), "binary": (97, 100), "t5": (94, 98), "exponential": (89, 97), "lognormal": (72, 90)},
        30: {"normal": (94, 99), "binary": (95, 100), "t5": (92, 97), "exponential": (90, 97), "lognormal": (76, 96)},
    },
    ("inter", "random"): {
        3: {"normal": (93, 100), "binary": (95, 100), "t5": (89, 100), "exponential": (83, 100), "lognormal": (74, 100)},
        5: {"normal": (96, 100), "binary": (97, 100), "t5": (94, 100), "exponential": (90, 100), "lognormal": (78, 98)},
        10: {"normal": (96, 100), "binary": (97, 100), "t5": (94, 99), "exponential": (90, 98), "lognormal": (74, 94)},
        30: {"normal": (94, 99), "binary": (94, 100), "t5": (93, 98), "exponential": (91, 97), "lognormal": (78, 97)},
    },
    ("intra", "fixed"): {
        3: {"normal": (95, 97), "binary": (87, 98), "t5": (91, 96), "exponential": (91, 96), "lognormal": (81, 91)},
        5: {"normal": (95, 96), "binary": (92, 97), "t5": (92, 97), "exponential": (92, 97), "lognormal": (80, 92)},
        10: {"normal": (94, 97), "binary": (93, 97), "t5": (91, 97), "exponential": (92, 96), "lognormal": (81, 92)},
        30: {"normal": (95, 96), "binary": (93, 97), "t5": (92, 96), "exponential": (93, 96), "lognormal": (82, 92)},
    },
    ("intra", "random"): {
        3: {"normal": (96, 98), "binary": (89, 99), "t5": (94, 97), "exponential": (95, 97), "lognormal": (86, 93)},
        5: {"normal": (96, 98), "binary": (92, 99), "t5": (95, 98), "exponential": (95, 98), "lognormal": (85, 94)},
        10: {"normal": (95, 98), "binary": (94, 98), "t5": (95, 98), "exponential": (94, 97), "lognormal": (87, 94)},
        30: {"normal": (95, 98), "binary": (94, 97), "t5": (95, 98), "exponential": (96, 98), "lognormal": (89, 94)},
    },
    ("share", "fixed"): {
        3: {"normal": (93, 99), "binary": (93, 100), "t5": (91, 98), "exponential": (85, 98), "lognormal": (81, 95)},
        5: {"normal": (95, 98), "binary": (97, 100), "t5": (92, 97), "exponential": (89, 97), "lognormal": (78, 92)},
        10: {"normal": (96, 99), "binary": (96, 100), "t5": (94, 98), "exponential": (90, 97), "lognormal": (75, 94)},
        30: {"normal": (95, 99), "binary": (95, 100), "t5": (93, 97), "exponential": (91, 98), "lognormal": (79, 96)},
    },
    ("share", "random"): {
        3: {"normal": (93, 99), "binary": (94, 100), "t5": (91, 100), "exponential": (85, 99), "lognormal": (81, 98)},
        5: {"normal": (96, 99), "binary": (98, 100), "t5": (93, 98), "exponential": (90, 98), "lognormal": (78, 96)},
        10: {"normal": (96, 99), "binary": (97, 100), "t5": (94, 99), "exponential": (89, 98), "lognormal": (76, 96)},
        30: {"normal": (93, 99), "binary": (96, 100), "t5": (93, 97), "exponential": (92, 97), "lognormal": (81, 96)},
    },
    ("total", "fixed"): {
        3: {"normal": (92, 98), "binary": (97, 100), "t5": (89, 96), "exponential": (83, 95), "lognormal": (78, 90)},
        5: {"normal": (96, 99), "binary": (93, 100), "t5": (94, 97), "exponential": (89, 96), "lognormal": (82, 91)},
        10: {"normal": (97, 99), "binary": (95, 100), "t5": (94, 98), "exponential": (90, 96), "lognormal": (80, 91)},
        30: {"normal": (94, 99), "binary": (92, 100), "t5": (93, 97), "exponential": (92, 97), "lognormal": (84, 95)},
    },
    ("total", "random"): {
        3: {"normal": (92, 100), "binary": (97, 100), "t5": (90, 100), "exponential": (83, 100), "lognormal": (80, 99)},
        5: {"normal": (96, 100), "binary": (93, 100), "t5": (95, 99), "exponential": (92, 99), "lognormal": (84, 96)},
        10: {"normal": (97, 100), "binary": (93, 100), "t5": (95, 98), "exponential": (90, 98), "lognormal": (82, 96)},
        30: {"normal": (94, 99), "binary": (90, 100), "t5": (93, 98), "exponential": (92, 97), "lognormal": (85, 98)},
    },
}  # fmt: skip


def shown(component: str, prompts: str, students: int) -> str:
    """What the interval covered with as many students, or with the next fewer that were simulated.

    Examples
    --------
    >>> shown("inter", "fixed", 12)[:40]
    'at a level of 95 % and S = 10 it covered'
    """
    found = COVERED[component, prompts]
    nearest = max((s for s in found if s <= students), default=min(found))
    ranges = [f"{low}-{high} % of {DATA[data]}" for data, (low, high) in found[nearest].items()]
    return f"at a level of {percent(MEASURED_AT)} and S = {nearest} it covered {', '.join(ranges)} effects"
