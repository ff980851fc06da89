"""Cells − committed = missing: studies, the work they still need, and who does it."""

from uqkd.run.bundled import bundled_file, here_or_bundled
from uqkd.run.runner import Interrupted, Run, Workers
from uqkd.run.study import (
    AtLeastTwo,
    Fraction,
    NonNegativeFloat,
    Options,
    PositiveFloat,
    PositiveInt,
    Study,
    find_study,
    load_study,
    study_folders,
    study_names,
)

__all__ = [
    "AtLeastTwo",
    "Fraction",
    "Interrupted",
    "NonNegativeFloat",
    "Options",
    "PositiveFloat",
    "PositiveInt",
    "Run",
    "Study",
    "Workers",
    "bundled_file",
    "find_study",
    "here_or_bundled",
    "load_study",
    "study_folders",
    "study_names",
]
