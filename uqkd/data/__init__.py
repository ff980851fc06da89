"""Real data sets by name or by path: checked, fingerprinted, split, scaled on the training part only."""

from uqkd.data.images.loading import ImageDataset, images_from_arrays, load_images
from uqkd.data.images.parts import AmbiguousImages, ImageSplit, ambiguous, split_images
from uqkd.data.images.shifts import SHIFTS, add_noise, blur, rotate, shift_pixels, shifted
from uqkd.data.kinds import kind_of
from uqkd.data.synthetic.intents import IntentTexts, IntentWorld
from uqkd.data.synthetic.noise import noisy_posterior, with_label_noise
from uqkd.data.synthetic.thinning import drop_tokens, long_tailed
from uqkd.data.tabular.classes import (
    CLASSIFICATIONS,
    ClassDataset,
    ClassSplit,
    classes_from_frame,
    load_classes,
    split_classes,
)
from uqkd.data.tabular.dataset import Dataset, from_frame
from uqkd.data.tabular.loading import OFFLINE, REGRESSIONS, STATSMODELS, load
from uqkd.data.tabular.splitting import Split, split
from uqkd.data.tasks import Task, load_task
from uqkd.data.texts.loading import TextDataset, TextSplit, load_texts, split_texts
from uqkd.data.texts.tokens import encode, open_tokenizer, tokenizer

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
    "Task",
    "TextDataset",
    "TextSplit",
    "add_noise",
    "ambiguous",
    "blur",
    "classes_from_frame",
    "drop_tokens",
    "encode",
    "from_frame",
    "images_from_arrays",
    "kind_of",
    "load",
    "load_classes",
    "load_images",
    "load_task",
    "load_texts",
    "long_tailed",
    "noisy_posterior",
    "open_tokenizer",
    "rotate",
    "shift_pixels",
    "shifted",
    "split",
    "split_classes",
    "split_images",
    "split_texts",
    "tokenizer",
    "with_label_noise",
]
