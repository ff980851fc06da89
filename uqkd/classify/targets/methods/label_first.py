"""The nearest distribution in which the label leads, by squared distance and by Kullback-Leibler divergence."""

from __future__ import annotations

from uqkd.classify.projections.label_first import project_label_first, project_label_first_l2
from uqkd.classify.targets.methods import Target

TARGETS = (
    Target(
        "label first, L2", project_label_first_l2, needs=("labels",), projection="label_first_l2", options=("margin",)
    ),
    Target(
        "label first, KL",
        project_label_first,
        needs=("labels",),
        projection="label_first",
        options=("margin", "entropy_min"),
    ),
)
