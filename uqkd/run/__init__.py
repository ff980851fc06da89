"""Cells − committed = missing: studies, the work they still need, and who does it."""

from uqkd.run.runner import Interrupted, Run, Workers
from uqkd.run.study import (
    NoiseLevel,
    Options,
    Replicates,
    Responses,
    SampledResponses,
    Share,
    Study,
    find_study,
    load_study,
    study_names,
)
from uqkd.run.tables import over_students

__all__ = [
    "Interrupted",
    "NoiseLevel",
    "Options",
    "Replicates",
    "Responses",
    "Run",
    "SampledResponses",
    "Share",
    "Study",
    "Workers",
    "find_study",
    "load_study",
    "over_students",
    "study_names",
]
