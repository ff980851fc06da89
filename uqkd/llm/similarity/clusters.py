"""Which responses say the same: equal texts, equal but for form, or each entailing the other."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import OptionError, ShapeError, one_of
from uqkd.llm.responses import Responses
from uqkd.llm.similarity.embeddings import folded

Index = NDArray[np.int64]
Pair = tuple[str, str]

LEVELS = ("exact", "normalised", "nli")
ARTICLES = frozenset(("a", "an", "the"))
_NUMBER = r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w)"
_INITIALS = re.compile(r"\b(?:[^\W\d_]\.){2,}")  # u.s.a.: one word, of which no letter is an article
_OTHER = re.compile(r"[^a-z ]")  # without it there is nothing to do but to take articles out
# Words stay as they are and are not looked at one by one; no number begins or ends inside one.
_TOKEN = re.compile(rf"(?P<number>{_NUMBER})|[^\w\s]")


@dataclass(frozen=True)
class Clusters:
    """Clusters of one meaning; numbers are shared by all students and sources within a prompt.

    Attributes
    ----------
    ids : (S, P, R) int
        Cluster of each response; 0 is the one with most responses.
    beside : tuple of (S_i, P, k_i) int
        The same for the responses beside.
    representatives : tuple of P tuples of str
        The most frequent text of each cluster (of equally frequent ones the first in the alphabet).
    how : str
    """

    ids: Index
    beside: tuple[Index, ...]
    representatives: tuple[tuple[str, ...], ...]
    how: str


@lru_cache(maxsize=2**17)
def normalise(text: str) -> str:
    """The text without what does not change an answer: case, compatibility forms, blanks, punctuation, English articles.

    Numbers lose thousands separators, a plus sign and the zeros that end a fraction, but keep their sign and point. A text
    of nothing but articles keeps them, one of nothing but punctuation stays as it is.

    Examples
    --------
    >>> normalise("The answer: 1,250.50!"), normalise("−3.0 °C"), normalise("the")
    ('answer 1250.5', '-3 °c', 'the')
    """
    plain = folded(text).replace("−", "-").replace("'", "").replace("’", "")
    if _OTHER.search(plain):
        plain = _INITIALS.sub(lambda match: match.group().replace(".", ""), plain)
        words = _TOKEN.sub(_kept, plain).replace(" %", "%").split()
    else:
        words = plain.split()
    return " ".join([word for word in words if word not in ARTICLES]) or " ".join(words) or plain


def _kept(match: re.Match[str]) -> str:
    token = match.group()
    if match.group("number"):
        return _plain_number(token)
    dropped = unicodedata.category(token[0]).startswith("P") and token[0] not in "%#_"
    return " " if dropped else token


def _plain_number(token: str) -> str:
    digits = token.replace(",", "").lstrip("+")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def cluster(
    responses: Responses,
    how: str = "normalised",
    *,
    beside: Sequence[Responses] = (),
    model: str | None = None,
    device: str = "cpu",
) -> Clusters:
    """Group the responses to each prompt by what they say.

    Parameters
    ----------
    responses : Responses
        (S, P, R).
    how : {"exact", "normalised", "nli"}
        "exact": equal texts. "normalised": equal under `normalise`. "nli": what is equal so and, beyond that, texts that
        entail each other after the prompt, by a sequence-classification model.
    beside : sequence of Responses
        Others to the same prompts, clustered together with them: a teacher's, or another student's.
    model : str
        "nli": name or folder of the model; one of its labels must be "entailment".
    device : str
        Where it runs.

    Returns
    -------
    Clusters

    Raises
    ------
    OptionError
        Unknown `how`; a model missing, not wanted, unsafe or without such a label.
    LibraryError
        transformers is not installed.

    Notes
    -----
    Kuhn, Gal & Farquhar (2023), algorithm 1. Entailment is not transitive, so the greedy order matters: texts are taken
    by falling frequency over all sources, then by the alphabet, never as drawn, and join the first cluster whose
    representative they entail and are entailed by. Order of students and draws therefore changes nothing.

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts, Response
    >>> words = tuple(Response((i,), text) for i, text in enumerate(["Paris.", "paris", "Rome"]))
    >>> found = cluster(Responses(Prompts(("a",), ("?",)), words, [[[0, 1, 2]], [[1, 1, 2]]]))
    >>> found.ids.tolist(), found.representatives
    ([[[0, 0, 1]], [[0, 0, 1]]], (('paris', 'Rome'),))
    """
    one_of("how", how, LEVELS)
    if (how == "nli") != (model is not None):
        raise OptionError(
            f"how={how!r} got model={model!r}; 'nli' needs model=, a sequence-classification model, the others none."
        )
    for other in beside:
        if other.prompts.ids != responses.prompts.ids:
            raise ShapeError("responses beside must answer the same prompts in the same order.")
    entails = None
    if model is not None:
        from uqkd.llm.similarity.entailment import load

        entails = load(model, device=device)
    sources = [responses, *beside]
    ids = [np.empty(source.shape, dtype=np.int64) for source in sources]
    representatives = []
    for p, prompt in enumerate(responses.prompts.texts):
        texts = [source.distinct_texts(source.index[:, p].ravel()) for source in sources]
        groups = _groups(Counter(t for part in texts for t in part), how)
        if entails is not None:
            groups = joined(groups, entails, prompt=prompt)
        number = {text: g for g, group in enumerate(groups) for text in group}
        representatives.append(tuple(group[0] for group in groups))
        for array, part in zip(ids, texts, strict=True):
            array[:, p] = np.array([number[t] for t in part]).reshape(array[:, p].shape)
    return Clusters(ids[0], tuple(ids[1:]), tuple(representatives), how)


def _groups(counts: Counter[str], how: str) -> list[list[str]]:
    """Texts that are equal (in normal form), the most frequent text first, the most frequent group first."""
    groups: dict[str, list[str]] = {}
    for text in sorted(counts, key=lambda t: (-counts[t], t)):
        groups.setdefault(text if how == "exact" else normalise(text), []).append(text)
    return sorted(groups.values(), key=lambda group: (-sum(counts[t] for t in group), group[0]))


def joined(
    groups: Sequence[list[str]], entails: Callable[[Sequence[Pair]], NDArray[np.bool_]], *, prompt: str = ""
) -> list[list[str]]:
    """Join groups whose first texts entail each other, greedily in the order given.

    Parameters
    ----------
    groups : sequence of list of str
    entails : callable
        Whether each premise of a list of (premise, hypothesis) entails its hypothesis.
    prompt : str
        Put before every text, so that answers are understood as answers.

    Examples
    --------
    >>> same = lambda pairs: np.array([a[0] == b[0] for a, b in pairs])
    >>> joined([["x1"], ["y"], ["x2"]], same)
    [['x1', 'x2'], ['y']]
    """
    first = [f"{prompt} {group[0]}".strip() for group in groups]
    order = [(i, j) for i in range(len(first)) for j in range(len(first)) if i != j]
    if not order:
        return [list(group) for group in groups]
    answer = dict(zip(order, entails([(first[i], first[j]) for i, j in order]), strict=True))
    clusters: list[list[int]] = []
    for i in range(len(groups)):
        home = next((c for c in clusters if answer[c[0], i] and answer[i, c[0]]), None)
        if home is None:
            clusters.append([i])
        else:
            home.append(i)
    return [[text for i in members for text in groups[i]] for members in clusters]
