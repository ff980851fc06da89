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
from uqkd.data.shifts import SHIFTS, add_noise, blur, rotate, shift_pixels, shifted
from uqkd.data.sources import OFFLINE, REGRESSIONS, STATSMODELS, cell, label, load, of_cell
from uqkd.data.splitting import Split, split
from uqkd.data.thinning import drop_tokens, long_tailed

__all__ = [
    "CLASSIFICATIONS",
    "OFFLINE",
    "REGRESSIONS",
    "SHIFTS",
    "STATSMODELS",
    "ClassDataset",
    "ClassSplit",
    "Dataset",
    "Split",
    "add_noise",
    "blur",
    "cell",
    "cell_classes",
    "classes_from_frame",
    "drop_tokens",
    "from_frame",
    "label",
    "load",
    "load_classes",
    "long_tailed",
    "of_cell",
    "of_cell_classes",
    "rotate",
    "shift_pixels",
    "shifted",
    "split",
    "split_classes",
]
