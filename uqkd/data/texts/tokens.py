"""Texts as token numbers, the way BERT reads them: [CLS] words [SEP] and padding."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, LibraryError, OptionError, UqkdWarning

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")  # numbers 0 ... 3
FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json with merges.txt",
    "a .model file of SentencePiece",
)  # that hold words
UNREAD = 0.5  # share of unknown words above which a tokenizer does not read the texts
_CHUNK = 1024  # texts read at a time


class HasVocabulary(Protocol):
    """What a tokenizer of whole words is made for, such as an `IntentWorld`."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Its words."""
        ...


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


def open_tokenizer(name_or_path: str | Path) -> Any:
    """The tokenizer of a model's folder or name on the hub; code that it brings along is never run.

    Raises
    ------
    OptionError
        Neither text nor a path.
    DataError
        A path where nothing is, a folder without a tokenizer's files, or another reason why it cannot be loaded.

    Examples
    --------
    >>> open_tokenizer("no/such/folder/here")
    Traceback (most recent call last):
    uqkd.errors.DataError: tokenizer 'no/such/folder/here' cannot be loaded as it does not exist ...
    """
    if not isinstance(name_or_path, str | PurePath) or not str(name_or_path).strip():
        raise OptionError(f"tokenizer must be a model's folder or name; got {name_or_path!r}.")
    name_or_path, path = str(name_or_path), Path(name_or_path).expanduser()
    if not path.exists() and _is_path(name_or_path):
        raise DataError(
            f"tokenizer {name_or_path!r} cannot be loaded as it does not exist (looked in {path.resolve().parent}). Check the "
            "path; offline, give a model's folder."
        )
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise LibraryError("tokenizers need transformers, which is not installed: pip install transformers.") from None
    try:
        found = AutoTokenizer.from_pretrained(str(path) if path.exists() else name_or_path, trust_remote_code=False)
    except Exception as problem:  # every format, the hub and the network have errors of their own: one line for all
        raise _unloaded(name_or_path, path, problem) from None
    if not _knows_words(found):  # the library makes an empty one of a folder that holds a model only
        raise _without_words(name_or_path, path)
    return found


def _unloaded(name: str, path: Path, problem: Exception) -> DataError:
    """Why a tokenizer could not be loaded, from a folder or from the hub."""
    if path.is_dir() and not _has_files(path):
        return _without_words(name, path)
    why = f"{type(problem).__name__}: {_first_line(problem)}"
    if path.exists():
        return DataError(f"tokenizer {name!r} cannot be loaded ({why}). Save it there again with its save_pretrained.")
    return DataError(
        f"tokenizer {name!r} does not exist here (looked in {path.resolve().parent}) and cannot be loaded from the hub ({why}), "
        "which needs a network the first time. Check the name; offline, give a model's folder."
    )


def _is_path(name: str) -> bool:
    """Whether a name is written as only a path is: names on the hub are NAME or OWNER/NAME."""
    return name.startswith(("/", ".", "~")) or name.endswith("/") or name.count("/") > 1


def _has_files(folder: Path) -> bool:
    kept = [path.name for path in folder.iterdir()]
    return any(name.startswith(("tokenizer", "vocab")) or name.endswith(".model") for name in kept)


def _knows_words(tokenizer: Any) -> bool:
    marks = set(tokenizer.all_special_tokens)
    return any(token.strip("▁Ġ ") and token not in marks for token in tokenizer.get_vocab())


def _without_words(name: str, path: Path) -> DataError:
    held = sorted(entry.name for entry in path.iterdir())[:5] if path.is_dir() else []
    return DataError(
        f"tokenizer {name!r} cannot be loaded: no words are there, only {', '.join(held) or 'marks'}; missing is one of "
        f"{', '.join(FILES)}. Save the tokenizer beside the model, with its save_pretrained."
    )


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


def check_reading(tokenizer: Any, texts: Sequence[str], *, length: int, name: str) -> None:
    """Refuse texts that a tokenizer does not know, and warn of those that are cut at `length`.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    texts : sequence of str
    length : int
        Tokens of a row, marks included.
    name : str
        Of the data set.

    Raises
    ------
    DataError
        More than half of the words are unknown to the tokenizer.

    Warns
    -----
    UqkdWarning
        Some rows are cut.

    Examples
    --------
    >>> from uqkd.data import IntentWorld
    >>> reader = tokenizer(IntentWorld.make(classes=2, key=("doc",)))
    >>> check_reading(reader, ["please help", "guten Tag auch"], length=8, name="toy")
    Traceback (most recent call last):
    uqkd.errors.DataError: 60 % of the words of data toy (3 of 5) are unknown to the tokenizer, ...
    """
    counts = np.array(list(_counted(tokenizer, texts))).reshape(-1, 3)
    unknown, words, longest = int(counts[:, 0].sum()), int(counts[:, 1].sum()), int(counts[:, 2].max(initial=0))
    if unknown > UNREAD * words:
        raise DataError(
            f"{100 * unknown / words:.0f} % of the words of data {name} ({unknown:,} of {words:,}) are unknown to the tokenizer, "
            "which reads them all alike; give with tokenizer= that of a model of these texts' language."
        )
    if cut := int((counts[:, 2] > length).sum()):
        warnings.warn(
            f"{cut:,} of {len(texts):,} rows of data {name} are cut to {length} tokens; the longest has {longest:,}. Raise "
            "length= to read them whole.",
            UqkdWarning,
            stacklevel=5,  # where a task is asked for
        )


def _counted(tokenizer: Any, texts: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Of each text the unknown words, all words, and tokens with marks. A text of which nothing is left is a word unknown."""
    marks = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for start in range(0, len(texts), _CHUNK):
        # verbose: the library would warn of each text that is longer than the model reads
        read = tokenizer(
            list(texts[start : start + _CHUNK]), truncation=False, split_special_tokens=True, verbose=False
        )
        for row, ids in enumerate(read["input_ids"]):
            places = read.word_ids(row) if read.is_fast else [None if i in marks else n for n, i in enumerate(ids)]
            words = {place for place in places if place is not None}
            unknown = {p for p, i in zip(places, ids, strict=True) if p is not None and i == tokenizer.unk_token_id}
            yield (len(unknown), len(words), len(ids)) if words else (1, 1, len(ids))


def _first_line(problem: Exception) -> str:
    return (str(problem).splitlines() or [""])[0][:160]
