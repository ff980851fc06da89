"""Real data sets by name or by path: checked, fingerprinted, split, scaled on the training part only."""

from uqkd.data.classes import (
    CLASSIFICATIONS,
    ClassDataset,
    ClassSplit,
    cell_classes,
    classes_from_frame,
    load_classes,
    of_cell_classes,
    split_classes,
)
from uqkd.data.dataset import Dataset, from_frame
from uqkd.data.sources import OFFLINE, REGRESSIONS, STATSMODELS, cell, label, load, of_cell
from uqkd.data.splitting import Split, split

__all__ = [
    "CLASSIFICATIONS",
    "OFFLINE",
    "REGRESSIONS",
    "STATSMODELS",
    "ClassDataset",
    "ClassSplit",
    "Dataset",
    "Split",
    "cell",
    "cell_classes",
    "classes_from_frame",
    "from_frame",
    "label",
    "load",
    "load_classes",
    "of_cell",
    "of_cell_classes",
    "split",
    "split_classes",
]
