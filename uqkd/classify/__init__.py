"""Classifier distillation: calibrated uncertainty distillation and mixup; the verbs of the other layers.

- A teacher, and its students: `Teacher`, `distill`, `Classifiers`, `Recipe`, `SeedDesign`, `Distillation`, `Mixing`, `Shaping`
- Networks: `perceptron`, `convolutional`, `residual`, `BagOfWords`, `pretrained`, or any of these `by_name`
- Targets by name, each with what it needs: `METHODS`, `TargetFactory`; of one's own teacher: `wclip`, `soften`,
  `smooth_labels`, `project`
- Exact projections, and the certificates of their optimality: `project_groups`, `project_label_first`,
  `project_label_first_l2`, `project_pairs`, `group_projection`, `label_first_projection`, `duality_gap`, `label_first_gap`
- What the bounds of a projection rest on: `out_of_fold`, `evidence_from`
- Prediction sets that hold the true class at a stated chance: `conformal_sets`
- What mixup did: `mixed_rows`, `measure_mixup`, `against_teacher`
"""

from uqkd.classify.classifiers import Classifiers
from uqkd.classify.crossfit import out_of_fold
from uqkd.classify.measure import against_teacher, measure_mixup, mixed_rows
from uqkd.classify.mixup import Mixing
from uqkd.classify.networks.from_transformers import pretrained
from uqkd.classify.networks.naming import by_name
from uqkd.classify.networks.plain import BagOfWords, convolutional, perceptron, residual
from uqkd.classify.projections.certificate import duality_gap, label_first_gap
from uqkd.classify.projections.label_first import label_first_projection, project_label_first, project_label_first_l2
from uqkd.classify.projections.pairs import project_pairs
from uqkd.classify.projections.projection import group_projection, project_groups
from uqkd.classify.students import distill
from uqkd.classify.targets.evidence import evidence_from
from uqkd.classify.targets.factory import TargetFactory
from uqkd.classify.targets.methods import all_targets
from uqkd.classify.targets.objectives import Distillation, Shaping
from uqkd.classify.targets.wclip import wclip
from uqkd.classify.targets.weighted import project, smooth_labels, soften
from uqkd.classify.teacher import Teacher
from uqkd.estimators import conformal_sets, estimate
from uqkd.stacked import Recipe, SeedDesign
from uqkd.targets import ClassTargets, weigh

METHODS = tuple(all_targets())

__all__ = [
    "METHODS",
    "BagOfWords",
    "ClassTargets",
    "Classifiers",
    "Distillation",
    "Mixing",
    "Recipe",
    "SeedDesign",
    "Shaping",
    "TargetFactory",
    "Teacher",
    "against_teacher",
    "by_name",
    "conformal_sets",
    "convolutional",
    "distill",
    "duality_gap",
    "estimate",
    "evidence_from",
    "group_projection",
    "label_first_gap",
    "label_first_projection",
    "measure_mixup",
    "mixed_rows",
    "out_of_fold",
    "perceptron",
    "pretrained",
    "project",
    "project_groups",
    "project_label_first",
    "project_label_first_l2",
    "project_pairs",
    "residual",
    "smooth_labels",
    "soften",
    "wclip",
    "weigh",
]
