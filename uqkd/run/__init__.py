"""Cells − committed = missing: studies, the work they still need, and who does it."""

from uqkd.run.bundled import bundled_file, here_or_bundled
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
    study_folders,
    study_names,
)
from uqkd.run.tables import over_students, signs
from uqkd.run.task_options import Network, Rate, TaskOptions

__all__ = [
    "Interrupted",
    "Network",
    "NoiseLevel",
    "Options",
    "Rate",
    "Replicates",
    "Responses",
    "Run",
    "SampledResponses",
    "Share",
    "Study",
    "TaskOptions",
    "Workers",
    "bundled_file",
    "find_study",
    "here_or_bundled",
    "load_study",
    "over_students",
    "signs",
    "study_folders",
    "study_names",
]
