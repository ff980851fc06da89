"""Cells − committed = missing: studies, the work they still need, and who does it."""

from uqkd.run.runner import Interrupted, Run, Workers
from uqkd.run.study import Options, Study, find_study, load_study, study_names

__all__ = ["Interrupted", "Options", "Run", "Study", "Workers", "find_study", "load_study", "study_names"]
