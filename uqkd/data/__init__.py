"""Real data sets by name or by path: checked, fingerprinted, split, scaled on the training part only."""

from uqkd.data.dataset import Dataset, from_frame
from uqkd.data.sources import OFFLINE, REGRESSIONS, STATSMODELS, cell, label, load, of_cell
from uqkd.data.splitting import Split, split

__all__ = [
    "OFFLINE",
    "REGRESSIONS",
    "STATSMODELS",
    "Dataset",
    "Split",
    "cell",
    "from_frame",
    "label",
    "load",
    "of_cell",
    "split",
]
