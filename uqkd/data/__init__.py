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
from uqkd.data.images import (
    AmbiguousImages,
    ImageDataset,
    ImageSplit,
    ambiguous,
    images_from_arrays,
    load_images,
    split_images,
)
from uqkd.data.intents import IntentTexts, IntentWorld
from uqkd.data.noise import noisy_posterior, with_label_noise
from uqkd.data.shifts import SHIFTS, add_noise, blur, rotate, shift_pixels, shifted
from uqkd.data.sources import OFFLINE, REGRESSIONS, STATSMODELS, cell, label, load, of_cell
from uqkd.data.splitting import Split, split
from uqkd.data.texts import TextDataset
from uqkd.data.thinning import drop_tokens, long_tailed
from uqkd.data.tokens import encode, open_tokenizer, tokenizer

__all__ = [
    "CLASSIFICATIONS",
    "OFFLINE",
    "REGRESSIONS",
    "SHIFTS",
    "STATSMODELS",
    "AmbiguousImages",
    "ClassDataset",
    "ClassSplit",
    "Dataset",
    "ImageDataset",
    "ImageSplit",
    "IntentTexts",
    "IntentWorld",
    "Split",
    "TextDataset",
    "add_noise",
    "ambiguous",
    "blur",
    "cell",
    "cell_classes",
    "classes_from_frame",
    "drop_tokens",
    "encode",
    "from_frame",
    "images_from_arrays",
    "label",
    "load",
    "load_classes",
    "load_images",
    "long_tailed",
    "noisy_posterior",
    "of_cell",
    "of_cell_classes",
    "open_tokenizer",
    "rotate",
    "shift_pixels",
    "shifted",
    "split",
    "split_classes",
    "split_images",
    "tokenizer",
    "with_label_noise",
]
