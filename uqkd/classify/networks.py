"""Architectures of classifiers: rows in, logits (rows, C) out. All of them can be stacked.

Any other factory of an `nn.Module` that treats rows independently does as well.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from uqkd.errors import DataError, OptionError, UqkdError

Factory = Callable[[], nn.Module]

IMAGE_NETWORKS = ("perceptron", "convolutional", "residual")

# Dropout of attention weights is a function, not a module, and draws from torch's global state: it is off, in the lone
# student as in the stacked ones. Dropout of activations stays as configured.
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")


def perceptron(inputs: int, classes: int, *, hidden: Sequence[int] = (64,)) -> nn.Sequential:
    """Multilayer perceptron with rectifiers; rows of any shape are flattened.

    Parameters
    ----------
    inputs : int
        Numbers in a row.
    classes : int
        C.
    hidden : sequence of int
        Widths of the hidden layers; none makes a multinomial logistic regression.

    Examples
    --------
    >>> import torch
    >>> perceptron(64, 10)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    _positive(inputs=inputs, classes=classes, hidden=min(hidden, default=1))
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise((inputs, *hidden, classes)):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutional(channels: int, classes: int, *, size: int, width: int = 16) -> nn.Sequential:
    """Small convolutional network: two 3×3 convolutions with rectifiers, the second with stride 2, a linear layer.

    Parameters
    ----------
    channels : int
        Of the images.
    classes : int
        C.
    size : int
        Height and width of the images; at least 4.
    width : int
        Channels of the first convolution; the second has twice as many.

    Examples
    --------
    >>> import torch
    >>> convolutional(1, 10, size=8)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    _positive(channels=channels, classes=classes, width=width, size=size)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.ReLU(),
        # strides: max-pooling took more time than the convolutions
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * ((size + 1) // 2) ** 2, classes),
    )


class Block(nn.Module):
    """Residual block of two 3×3 convolutions with batch normalisation (He et al. 2016).

    Parameters
    ----------
    before, after : int
        Channels in and out; where they differ the shortcut is a 1×1 convolution.
    stride : int
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) to (N, after, H/stride, W/stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


def residual(channels: int, classes: int, *, depth: int = 8, width: int = 16) -> nn.Sequential:
    """Residual network for small images, of He et al. (2016), section 4.2: three stages of widths w, 2w and 4w.

    Their shortcuts between stages have no parameters; these are projections (option B), 2,752 parameters more at w = 16.

    Parameters
    ----------
    channels : int
        Of the images.
    classes : int
        C.
    depth : int
        6n + 2 layers: 8, 14, 20, 32, 44, 56, 110.
    width : int
        w; 16 as published.

    Examples
    --------
    >>> sum(p.numel() for p in residual(3, 10, depth=20).parameters())  # 0.27 million, as published
    272474
    """
    _positive(channels=channels, classes=classes, width=width)
    blocks, left = divmod(depth - 2, 6)
    if left or blocks < 1:
        raise OptionError(f"residual needs a depth of 6n + 2 layers, such as 8, 14 or 20; got {depth}.")
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for stage in range(3):
        for block in range(blocks):
            after = width * 2**stage
            layers.append(Block(before, after, 2 if stage and not block else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


class BagOfWords(nn.Module):
    """Mean of word vectors, a hidden layer, logits: rows of token ids to logits, whatever the order of the words.

    Parameters
    ----------
    vocabulary, classes : int
    pad : int
        Id of the padding token, which is left out.
    width : int
        Of the word vectors and of the hidden layer.

    Examples
    --------
    >>> import torch
    >>> BagOfWords(9, 3, pad=0)(torch.tensor([[2, 5, 3, 0]])).shape
    torch.Size([1, 3])
    """

    def __init__(self, vocabulary: int, classes: int, *, pad: int, width: int = 64) -> None:
        super().__init__()
        _positive(vocabulary=vocabulary, classes=classes, width=width)
        self.pad = pad
        self.words = nn.Embedding(vocabulary, width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, rows: Tensor) -> Tensor:
        """(N, L) token ids to (N, C)."""
        counted = (rows != self.pad).to(self.words.weight.dtype)[..., None]
        return self.head((self.words(rows) * counted).sum(1) / counted.sum(1).clamp(min=1.0))  # type: ignore[no-any-return]


class Pretrained(nn.Module):
    """A classifier of the transformers library: rows of token ids, or images, to logits.

    Parameters
    ----------
    model : transformers PreTrainedModel
        For sequence or image classification.
    pad : int, optional
        Id of the padding token, which is not attended to; None for images.
    """

    def __init__(self, model: nn.Module, pad: int | None) -> None:
        super().__init__()
        self.model, self.pad = model, pad

    def forward(self, rows: Tensor) -> Tensor:
        """(N, L) token ids, or (N, channels, H, W), to (N, C)."""
        if self.pad is None:
            return self.model(pixel_values=rows).logits  # type: ignore[no-any-return]
        return self.model(input_ids=rows, attention_mask=(rows != self.pad).long()).logits  # type: ignore[no-any-return]


def pretrained(model: Any, classes: int, *, pad: int | None) -> Pretrained:
    """A text or image classifier of the transformers library, by name, path or configuration.

    Parameters
    ----------
    model : path, name or transformers configuration
        Such as "google/bert_uncased_L-4_H-256_A-4", the size of the 4L-256D student of CUD. A configuration begins fresh; of
        a saved model the head is fresh where it has another number of classes.
    classes : int
        C.
    pad : int or None
        Id of the padding token for texts; None for images.

    Raises
    ------
    DataError
        A model that does not load, also one that has its weights as a pickle only, or those of another architecture.
    OptionError
        A model that brings code of its own, or that has another padding token.

    Examples
    --------
    >>> import torch
    >>> from transformers import BertConfig
    >>> size = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    >>> pretrained(size, 3, pad=0).eval()(torch.tensor([[2, 5, 3, 0]])).shape
    torch.Size([1, 3])
    """
    from transformers import (
        AutoConfig,
        AutoModelForImageClassification,
        AutoModelForSequenceClassification,
        PretrainedConfig,
    )

    _positive(classes=classes)
    kind: Any = AutoModelForImageClassification if pad is None else AutoModelForSequenceClassification
    try:
        fresh = isinstance(model, PretrainedConfig)
        config: Any = copy.deepcopy(model) if fresh else AutoConfig.from_pretrained(model, trust_remote_code=False)
        _refuse_own_code(config, model)
        if fresh and pad is not None:
            config.pad_token_id = pad
        elif pad is not None and config.pad_token_id not in (None, pad):
            raise OptionError(f"model {str(model)[:80]!r} pads with token {config.pad_token_id}; got pad={pad}.")
        config.num_labels = classes
        for name in ATTENTION_DROPOUT:
            if getattr(config, name, 0.0):
                setattr(config, name, 0.0)
        if fresh:
            return Pretrained(kind.from_config(config), pad)
        found, seen = kind.from_pretrained(
            model, config=config, trust_remote_code=False, use_safetensors=True, ignore_mismatched_sizes=True,
            output_loading_info=True,
        )  # fmt: skip
    except UqkdError:
        raise
    except Exception as error:  # of many libraries: one line for all
        why = next(iter(str(error).splitlines()), "")[:160]
        raise DataError(
            f"model {str(model)[:80]!r} does not load ({type(error).__name__}: {why}); give the "
            "folder of a saved classifier with safetensors weights, a name where there is a network, or a configuration."
        ) from error
    body = {name for name, _ in found.named_parameters() if name.startswith(f"{found.base_model_prefix}.")}
    if body and body <= set(seen["missing_keys"]):  # a library that warns of it goes on with random weights
        raise DataError(
            f"model {str(model)[:80]!r} has no weights of {type(found).__name__}, which its config.json describes; give the "
            "folder as it was saved."
        )
    return Pretrained(found.float(), pad)


def _refuse_own_code(config: Any, model: Any) -> None:
    if getattr(config, "auto_map", None):
        raise OptionError(
            f"model {str(model)[:80]!r} brings code of its own (config.json has 'auto_map'), which is never run; give a model "
            "of an architecture that the transformers library has."
        )


def _positive(**sizes: int) -> None:
    for name, size in sizes.items():
        least = {"classes": 2, "size": 4}.get(name, 1)
        if size < least:
            raise OptionError(f"a classifier needs {name} >= {least}; got {name}={size}.")


def by_name(
    name: str, *, row: tuple[int, ...], classes: int, pad: int | None = None, vocabulary: int | None = None
) -> Factory:
    """Factory of an architecture, as an option of a study names it.

    Parameters
    ----------
    name : str
        "perceptron:64" (widths with commas, or none for a logistic regression), "convolutional:16", "residual:8" (depth) or
        "residual:8:4" (depth and width) for images; "bag:64" for texts; anything else is the path or name of a
        transformers model.
    row : tuple of int
        Shape of one row.
    classes : int
    pad, vocabulary : int, optional
        Of texts.

    Examples
    --------
    >>> sum(p.numel() for p in by_name("perceptron:32,16", row=(64,), classes=10)().parameters())
    2778
    """
    kind, *sizes = name.split(":")
    given = [size for part in sizes for size in part.split(",") if size]
    widths = [int(size) for size in given if size.isdecimal()]
    count = len(widths) if len(widths) == len(given) else -1  # a size that is no number fits nothing
    image = pad is None and len(row) == 3
    if kind == "perceptron" and count >= 0 and (image or (pad is None and len(row) == 1)):
        return lambda: perceptron(math.prod(row), classes, hidden=widths)
    if kind == "convolutional" and count == 1 and image and row[1] == row[2]:
        return lambda: convolutional(row[0], classes, size=row[1], width=widths[0])
    if kind == "residual" and count in (1, 2) and image:
        return lambda: residual(row[0], classes, depth=widths[0], **({"width": widths[1]} if count == 2 else {}))
    if kind == "bag" and count == 1 and vocabulary is not None and pad is not None:
        return lambda: BagOfWords(vocabulary, classes, pad=pad, width=widths[0])
    if kind in (*IMAGE_NETWORKS, "bag"):
        of = "texts" if pad is not None else f"rows of shape {row}"
        raise OptionError(
            f"network {name!r} does not fit {of}: perceptron:64, convolutional:16 (square) and residual:8 are for "
            "images, bag:64 for texts."
        )
    return lambda: pretrained(name, classes, pad=pad)
