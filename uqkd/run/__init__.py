"""Cells − committed = missing: studies, the work they still need, and who does it."""

from uqkd.run.runner import Interrupted, Run, Workers
from uqkd.run.study import (
    AtLeastTwo,
    Fraction,
    NonNegativeFloat,
    Options,
    PositiveInt,
    Study,
    find_study,
    load_study,
    study_names,
)
from uqkd.run.tables import over_students, signs
from uqkd.run.task_options import Network, PositiveFloat, TaskOptions

__all__ = [
    "AtLeastTwo",
    "Fraction",
    "Interrupted",
    "Network",
    "NonNegativeFloat",
    "Options",
    "PositiveFloat",
    "PositiveInt",
    "Run",
    "Study",
    "TaskOptions",
    "Workers",
    "find_study",
    "load_study",
    "over_students",
    "signs",
    "study_names",
]
