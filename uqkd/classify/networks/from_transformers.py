"""Classifiers of the transformers library as architectures that can be stacked."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from uqkd.classify.networks.plain import check_sizes
from uqkd.errors import DataError, OptionError, ShapeError, UqkdError

# Dropout of attention weights is a function, not a module, and draws from torch's global state: it is off, in the lone
# student as in the stacked ones. So does stochastic depth, and is. Dropout of activations stays as configured.
GLOBAL_DRAWS = ("attention_probs_dropout_prob", "attention_dropout", "drop_path_rate")


class Pretrained(nn.Module):
    """A classifier of the transformers library: rows of token ids, or images, to logits.

    Parameters
    ----------
    model : transformers PreTrainedModel
        For sequence or image classification.
    pad : int, optional
        Id of the padding token, which is not attended to; None for images.
    size : (int, int), optional
        Height and width to which images are brought, without aliases, before the model sees them.
    """

    def __init__(self, model: nn.Module, pad: int | None, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.model, self.pad, self.size = model, pad, size
        self.most = None if pad is None else _positions(model)

    def forward(self, rows: Tensor) -> Tensor:
        """(N, L) token ids, or (N, channels, H, W), to (N, C)."""
        if self.pad is None:
            if self.size not in (None, tuple(rows.shape[-2:])):
                rows = F.interpolate(rows, self.size, mode="bilinear", antialias=True)
            return self.model(pixel_values=rows).logits  # type: ignore[no-any-return]
        if self.most is not None and rows.shape[1] > self.most:
            raise ShapeError(
                f"rows of {rows.shape[1]} tokens do not fit a model of {self.most} positions (max_position_embeddings); cut "
                f"them where texts are read, to length={self.most} at most."
            )
        return self.model(input_ids=rows, attention_mask=(rows != self.pad).long()).logits  # type: ignore[no-any-return]


def pretrained(model: Any, classes: int, *, pad: int | None) -> Pretrained:
    """A text or image classifier of the transformers library, by name, path or configuration.

    Parameters
    ----------
    model : path, name or transformers configuration
        Such as "google/bert_uncased_L-4_H-256_A-4", the size of the 4L-256D student of CUD. A configuration begins fresh; of
        a saved model the head is fresh where it has another number of classes, and images are brought to the size that it was
        trained on.
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

    check_sizes(classes=classes)
    said = repr(str(model)[:80]) if isinstance(model, (str, PathLike)) else f"of {type(model).__name__}"
    kind: Any = AutoModelForImageClassification if pad is None else AutoModelForSequenceClassification
    try:
        fresh = isinstance(model, PretrainedConfig)
        config: Any = copy.deepcopy(model) if fresh else AutoConfig.from_pretrained(model, trust_remote_code=False)
        _refuse_own_code(config, model)
        if fresh and pad is not None:
            config.pad_token_id = pad
        elif pad is not None and config.pad_token_id not in (None, pad):
            raise OptionError(f"model {said} pads with token {config.pad_token_id}; got pad={pad}.")
        config.num_labels = classes
        for name in GLOBAL_DRAWS:
            if getattr(config, name, 0.0):
                setattr(config, name, 0.0)
        if fresh:
            return Pretrained(kind.from_config(config), pad)
        with _quiet_library():
            found, seen = kind.from_pretrained(
                model, config=config, trust_remote_code=False, use_safetensors=True, ignore_mismatched_sizes=True,
                output_loading_info=True,
            )  # fmt: skip
    except UqkdError:
        raise
    except Exception as error:  # of many libraries: one line for all
        why = next(iter(str(error).splitlines()), "")[:160]
        raise DataError(
            f"model {said} does not load ({type(error).__name__}: {why}); give the "
            "folder of a saved classifier with safetensors weights, a name where there is a network, or a configuration."
        ) from error
    body = {name for name, _ in found.named_parameters() if name.startswith(f"{found.base_model_prefix}.")}
    if body and body <= set(seen["missing_keys"]):  # a library that warns of it goes on with random weights
        raise DataError(
            f"model {said} has no weights of {type(found).__name__}, which its config.json describes; give the "
            "folder as it was saved."
        )
    return Pretrained(found.float(), pad, _image_size(config) if pad is None else None)


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Within, no bars unless someone watches, and no report of the fresh head, which was asked for."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled() and not sys.stderr.isatty(), logging.get_verbosity()
    if shown:
        logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _positions(model: nn.Module) -> int | None:
    """How many tokens a text model has positions for; None where it does not say."""
    said = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if not isinstance(said, int) or said < 1:
        return None
    for name, part in model.named_modules():  # RoBERTa and its kin count from the padding token on
        if name.endswith("position_embeddings") and getattr(part, "padding_idx", None) is not None:
            return said - int(part.padding_idx) - 1  # type: ignore[arg-type]
    return said


def _image_size(config: Any) -> tuple[int, int] | None:
    size = getattr(config, "image_size", None)
    return (size, size) if isinstance(size, int) else None if size is None else (size[0], size[1])


def _refuse_own_code(config: Any, model: Any) -> None:
    if getattr(config, "auto_map", None):
        raise OptionError(
            f"model {str(model)[:80]!r} brings code of its own (config.json has 'auto_map'), which is never run; give a model "
            "of an architecture that the transformers library has."
        )
