"""Whether one text entails another, by a sequence-classification model; transformers is imported when one is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import LibraryError, NotFiniteError, OptionError
from uqkd.llm.similarity.embeddings import refuse_unsafe

Pair = tuple[str, str]

BATCH = 64  # pairs at a time: 64 × 128 tokens of a base-sized model stay below 1 GB


def load(name: str, *, device: str = "cpu") -> Callable[[Sequence[Pair]], NDArray[np.bool_]]:
    """A function that says of (premise, hypothesis) pairs whether the likeliest label is "entailment".

    Parameters
    ----------
    name : str
        Name or folder of a model with a label "entailment"; safetensors only, no code of its own is run.
    device : str

    Raises
    ------
    OptionError
        It cannot be loaded safely, or has no such label.
    LibraryError
        transformers is not installed.

    Examples
    --------
    >>> load("no/such/model")
    Traceback (most recent call last):
    uqkd.errors.OptionError: NLI model 'no/such/model' could not be loaded ...
    """
    tokenizer, model, label = _loaded(name, device)

    def entails(pairs: Sequence[Pair]) -> NDArray[np.bool_]:
        distinct = sorted(set(pairs), key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
        found: dict[Pair, bool] = {}
        for start in range(0, len(distinct), BATCH):
            part = distinct[start : start + BATCH]
            batch = tokenizer(
                [a for a, _ in part], [b for _, b in part], padding=True, truncation=True, return_tensors="pt"
            )
            logits = model(**batch.to(device)).logits.float().cpu().numpy()
            if not np.isfinite(logits).all():
                raise NotFiniteError(f"NLI model {name!r} gives scores that are not finite for {part[0]!r}.")
            found.update(zip(part, (logits.argmax(axis=1) == label).tolist(), strict=True))
        return np.array([found[pair] for pair in pairs], dtype=np.bool_)

    return entails


@lru_cache(maxsize=2)
def _loaded(name: str, device: str) -> tuple[Any, Any, int]:
    refuse_unsafe(name)
    try:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError as missing:
        raise LibraryError(
            f"clusters by entailment ({name!r}) need transformers, which is not installed: pip install 'uqkd[llm]', or "
            "use how='normalised'."
        ) from missing
    local = {"local_files_only": Path(name).is_dir(), "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **local)
        model = AutoModelForSequenceClassification.from_pretrained(name, use_safetensors=True, **local)
    except (OSError, ValueError) as problem:
        raise OptionError(
            f"NLI model {name!r} could not be loaded ({str(problem).splitlines()[0]}). Pass the folder of a "
            "sequence-classification model in safetensors form."
        ) from problem
    labels = [int(i) for i, label in model.config.id2label.items() if str(label).lower() == "entailment"]
    if len(labels) != 1:
        raise OptionError(
            f"NLI model {name!r} needs one label 'entailment'; got {list(model.config.id2label.values())}. Use a model "
            "trained on natural-language inference."
        )
    model.requires_grad_(False)
    return tokenizer, model.eval().to(device), labels[0]
