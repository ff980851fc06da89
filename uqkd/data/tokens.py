"""Texts as token numbers, the way BERT reads them: [CLS] words [SEP] and padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, LibraryError, OptionError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")  # numbers 0 ... 3


class HasVocabulary(Protocol):
    """What a tokenizer of whole words is made for, such as an `IntentWorld`."""

    @property
    def vocabulary(self) -> tuple[str, ...]: ...


def tokenizer(world: HasVocabulary) -> Any:
    """A tokenizer of the world's whole words, as transformers loads and saves it.

    Parameters
    ----------
    world : IntentWorld, or anything with a `vocabulary` of words without "["

    Returns
    -------
    transformers.PreTrainedTokenizerFast
        [PAD] is 0, [UNK] 1, [CLS] 2, [SEP] 3; the words follow in the world's order.

    Examples
    --------
    >>> from uqkd.data import IntentWorld
    >>> made = tokenizer(IntentWorld.make(classes=2, key=("doc",)))
    >>> made.convert_ids_to_tokens(made("please help")["input_ids"]), made.pad_token_id
    (['[CLS]', 'please', 'help', '[SEP]'], 0)
    """
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast
    except ImportError:
        raise LibraryError("tokenizers need transformers, which is not installed: pip install transformers.") from None
    pad, unknown, begin, end = SPECIAL
    if odd := next((word for word in world.vocabulary if "[" in word or word.split() != [word]), None):
        raise OptionError(
            f"word {odd!r} holds '[' or white space, or is empty; a tokenizer of whole words cannot hold it."
        )
    numbers = {word: place for place, word in enumerate((*SPECIAL, *world.vocabulary))}
    made = Tokenizer(models.WordLevel(numbers, unk_token=unknown))
    apart = pre_tokenizers.Split("[", "isolated")  # "[SEP]" in a text is then no word, and never the mark
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), apart])
    made.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, numbers[begin]), (end, numbers[end])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=pad,
        unk_token=unknown,
        cls_token=begin,
        sep_token=end,
        clean_up_tokenization_spaces=False,
    )


def open_tokenizer(name_or_path: str) -> Any:
    """The tokenizer of a model's folder or name on the hub; code that it brings along is never run.

    Raises
    ------
    DataError
        It cannot be loaded, or pads nothing.

    Examples
    --------
    >>> open_tokenizer("no/such/folder/here")
    Traceback (most recent call last):
    uqkd.errors.DataError: tokenizer 'no/such/folder/here' ...
    """
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise LibraryError("tokenizers need transformers, which is not installed: pip install transformers.") from None
    try:
        found = AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=False)
    except Exception as problem:  # every format, the hub and the network have errors of their own: one line for all
        raise DataError(
            f"tokenizer {name_or_path!r} cannot be loaded ({type(problem).__name__}: {_first_line(problem)}). A name on the "
            "hub needs a network the first time; offline, give a model's folder."
        ) from None
    return found


def encode(tokenizer: Any, texts: Sequence[str], length: int) -> NDArray[np.int64]:
    """Token numbers of each text, cut or padded to `length`.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        Of `tokenizer`, `open_tokenizer`, or any that pads. It is left as it was.
    texts : sequence of str
        Data only: "[SEP]" in a text is the letters, not the mark.
    length : int
        Tokens of a row, marks included.

    Returns
    -------
    (n, length) int
        [CLS] tokens [SEP], then `tokenizer.pad_token_id`.

    Examples
    --------
    >>> from uqkd.data import IntentWorld
    >>> world = IntentWorld.make(classes=2, key=("doc",))
    >>> encode(tokenizer(world), ["a about am and", "nonsense"], 5)
    array([[2, 4, 5, 6, 3],
           [2, 1, 3, 0, 0]])
    """
    if getattr(tokenizer, "pad_token_id", None) is None:
        raise OptionError("the tokenizer has no padding token; set tokenizer.pad_token, or give one of BERT's kind.")
    marks = tokenizer.num_special_tokens_to_add()
    if length <= marks:
        raise OptionError(f"length must be above the {marks} marks that the tokenizer adds; got {length}.")
    for row, text in enumerate(texts, start=1):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError(f"text {row} holds half of a surrogate pair ({text!r:.40}); it is no text.") from None
    if not texts:
        return np.zeros((0, length), dtype=np.int64)
    options = {"padding": "max_length", "truncation": True, "max_length": length, "split_special_tokens": True}
    return np.asarray(tokenizer(list(texts), **options)["input_ids"], dtype=np.int64)


def _first_line(problem: Exception) -> str:
    return (str(problem).splitlines() or [""])[0][:160]
