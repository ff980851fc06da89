"""Layer 2: neural students on tabular data, by Monte Carlo; the verbs of layer 1."""

from uqkd.estimators import estimate
from uqkd.mlp.initialisation import initialisation
from uqkd.mlp.network import mlp
from uqkd.mlp.responding import Answering
from uqkd.mlp.students import Students, distill
from uqkd.mlp.teacher import Teacher
from uqkd.stacked import SOURCES, Recipe, SeedDesign, batch_orders, bootstrap_rows
from uqkd.targets import ClassTargets, NumberTargets, weigh

__all__ = [
    "SOURCES",
    "Answering",
    "ClassTargets",
    "NumberTargets",
    "Recipe",
    "SeedDesign",
    "Students",
    "Teacher",
    "batch_orders",
    "bootstrap_rows",
    "distill",
    "estimate",
    "initialisation",
    "mlp",
    "weigh",
]
