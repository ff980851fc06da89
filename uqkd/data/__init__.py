"""Real data sets by name or by path: checked, fingerprinted, split, scaled on the training part only.

- Numbers: `load`, `from_frame`, `split`; names that need no network: `OFFLINE`, large enough to be split: `REGRESSIONS`
- Classes of rows of numbers: `load_classes`, `classes_from_frame`, `split_classes`; names: `CLASSIFICATIONS`
- Images: `load_images`, `images_from_arrays`, `split_images`; shifted, or between two classes: `SHIFTS`, `shifted`,
  `add_noise`, `blur`, `rotate`, `shift_pixels`, `ambiguous`
- Texts: `load_texts`, `split_texts`, `tokenizer`, `open_tokenizer`, `encode`
- Texts that several people rated: `load_ratings`, `split_ratings`, `split_raters`
- Images or texts in three parts, for training, calibration and test: `load_task`
- Generated, with the true posterior: `IntentWorld`; made noisy, thinned out: `with_label_noise`, `noisy_posterior`,
  `drop_tokens`, `long_tailed`
"""

from uqkd.data.images.loading import images_from_arrays, load_images
from uqkd.data.images.parts import ambiguous, split_images
from uqkd.data.images.shifts import SHIFTS, add_noise, blur, rotate, shift_pixels, shifted
from uqkd.data.ratings.dataset import RatedTexts, RatingSplit, split_raters, split_ratings
from uqkd.data.ratings.loading import load_ratings
from uqkd.data.synthetic.intents import IntentTexts, IntentWorld
from uqkd.data.synthetic.noise import noisy_posterior, with_label_noise
from uqkd.data.synthetic.thinning import drop_tokens, long_tailed
from uqkd.data.tabular.classes import CLASSIFICATIONS, classes_from_frame, load_classes, split_classes
from uqkd.data.tabular.dataset import Dataset, from_frame
from uqkd.data.tabular.loading import OFFLINE, REGRESSIONS, load
from uqkd.data.tabular.splitting import Split, split
from uqkd.data.tasks import Task, load_task
from uqkd.data.texts.loading import load_texts, split_texts
from uqkd.data.texts.tokens import encode, open_tokenizer, tokenizer

__all__ = [
    "CLASSIFICATIONS",
    "OFFLINE",
    "REGRESSIONS",
    "SHIFTS",
    "Dataset",
    "IntentTexts",
    "IntentWorld",
    "RatedTexts",
    "RatingSplit",
    "Split",
    "Task",
    "add_noise",
    "ambiguous",
    "blur",
    "classes_from_frame",
    "drop_tokens",
    "encode",
    "from_frame",
    "images_from_arrays",
    "load",
    "load_classes",
    "load_images",
    "load_ratings",
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
    "split_raters",
    "split_ratings",
    "split_texts",
    "tokenizer",
    "with_label_noise",
]
