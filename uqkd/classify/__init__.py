"""Classifier distillation: calibrated uncertainty distillation and mixup; the verbs of the other layers."""

from uqkd.classify.classifiers import Classifiers
from uqkd.classify.crossfit import OutOfFold, out_of_fold
from uqkd.classify.measure import MixedRows, against_teacher, measure_mixup, mixed_rows
from uqkd.classify.mixup import MixedBatches, Mixing, Pairs, mix
from uqkd.classify.networks.from_transformers import pretrained
from uqkd.classify.networks.naming import by_name
from uqkd.classify.networks.plain import BagOfWords, convolutional, perceptron, residual
from uqkd.classify.projections.certificate import duality_gap, label_first_gap
from uqkd.classify.projections.label_first import (
    LabelProjection,
    label_first_projection,
    project_label_first,
    project_label_first_l2,
)
from uqkd.classify.projections.pairs import project_pairs
from uqkd.classify.projections.projection import Projection, group_projection, project_groups
from uqkd.classify.students import distill
from uqkd.classify.targets.evidence import Evidence, evidence_from, soft_confusion
from uqkd.classify.targets.methods import METHODS, TargetFactory
from uqkd.classify.targets.objectives import Distillation, Shaping
from uqkd.classify.targets.wclip import wclip, wclip_fired
from uqkd.classify.targets.weighted import (
    ClassTargets,
    changed_rows,
    project,
    smooth_labels,
    soften,
    weigh_labels,
    weigh_precision,
    weigh_probabilities,
)
from uqkd.classify.teacher import Teacher
from uqkd.stacked import Recipe, SeedDesign

__all__ = [
    "METHODS",
    "BagOfWords",
    "ClassTargets",
    "Classifiers",
    "Distillation",
    "Evidence",
    "LabelProjection",
    "MixedBatches",
    "MixedRows",
    "Mixing",
    "OutOfFold",
    "Pairs",
    "Projection",
    "Recipe",
    "SeedDesign",
    "Shaping",
    "TargetFactory",
    "Teacher",
    "against_teacher",
    "by_name",
    "changed_rows",
    "convolutional",
    "distill",
    "duality_gap",
    "evidence_from",
    "group_projection",
    "label_first_gap",
    "label_first_projection",
    "measure_mixup",
    "mix",
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
    "soft_confusion",
    "soften",
    "wclip",
    "wclip_fired",
    "weigh_labels",
    "weigh_precision",
    "weigh_probabilities",
]
