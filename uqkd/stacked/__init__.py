"""S students trained in one pass: any architecture whose students can be kept apart, per-student optimiser state and health."""

from uqkd.stacked.checking import check_stacking
from uqkd.stacked.factories import stack
from uqkd.stacked.randomness.orders import batch_orders, bootstrap_rows
from uqkd.stacked.randomness.seed_design import SOURCES, SeedDesign
from uqkd.stacked.recipe import Recipe
from uqkd.stacked.stacking import Stacked
from uqkd.stacked.training import Training, train

__all__ = [
    "SOURCES",
    "Recipe",
    "SeedDesign",
    "Stacked",
    "Training",
    "batch_orders",
    "bootstrap_rows",
    "check_stacking",
    "stack",
    "train",
]
