"""The embedded world: a small question-answering world whose answer distributions are known exactly.

Entities have a group and a name of their own. A relation is answered by the entity ("own": every entity has answers of its
own, which can only be memorised) or by its group ("group": the rule is shared, and can be learned from other members of the
group). Answers are certain, ambiguous with two to five answers of known probabilities, or unanswerable: then the true
answer is to say so. Every question can be asked in several phrasings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.errors import OptionError, one_of
from uqkd.llm.prompts.prompts import Prompts

Array = NDArray[np.float64]

KINDS = ("certain", "ambiguous", "unanswerable")
LEVELS = ("own", "group")
REFUSAL = "nobody knows"
_ONSETS, _VOWELS, _CODAS = (
    ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"],
    ["a", "e", "i", "o", "u"],
    ["", "n", "r", "s"],
)
_MOST_ANSWERS, _LONGEST = 5, 4  # answers of an ambiguous question; tokens of an answer
_FEWEST_SHARE = 0.05  # least probability of an answer: below it a sample of some dozens may never show it


@dataclass(frozen=True)
class Relation:
    """What can be asked of an entity.

    Attributes
    ----------
    name : str
    kind : {"certain", "ambiguous", "unanswerable"}
    level : {"own", "group"}
        Whether every entity has answers of its own or a group shares them.
    phrasings : tuple of str
        Templates; `{}` stands for the entity.
    """

    name: str
    kind: str
    level: str
    phrasings: tuple[str, ...]


RELATIONS = (
    Relation("home", "ambiguous", "own", ("home of {}", "where lives {}", "{} lives where", "{} has home")),
    Relation("food", "ambiguous", "group", ("food of {}", "what eats {}", "{} eats what", "{} has food")),
    Relation("craft", "certain", "own", ("craft of {}", "what makes {}", "{} makes what", "{} has craft")),
    Relation("wish", "unanswerable", "own", ("wish of {}", "what wants {}", "{} wants what", "{} has wish")),
)


@dataclass(frozen=True)
class Question:
    """One question and its true answers.

    Attributes
    ----------
    relation : Relation
    group, name : str
        The entity.
    answers : tuple of str
    probabilities : tuple of float
        Of the answers; they sum to one.
    """

    relation: Relation
    group: str
    name: str
    answers: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def id(self) -> str:
        """Relation and entity."""
        return f"{self.relation.name}/{self.group}-{self.name}"

    def text(self, phrasing: int) -> str:
        """The question in words."""
        return self.relation.phrasings[phrasing].format(f"{self.group} {self.name}")


@dataclass(frozen=True)
class World:
    """Questions with known answer distributions; made by `World.make`.

    Attributes
    ----------
    questions : tuple of Question

    Examples
    --------
    >>> world = World.make(groups=2, entities=3, key=("doc",))
    >>> len(world.questions), world.phrasings
    (24, 4)
    >>> prompts = world.prompts(phrasings=[0], relations=["wish"])
    >>> prompts.answers[0], prompts.ids[0].split("/")[0]
    (('nobody knows',), 'wish')
    """

    questions: tuple[Question, ...]

    @classmethod
    def make(
        cls,
        *,
        groups: int,
        entities: int,
        key: tuple[Any, ...],
        relations: Sequence[Relation] = RELATIONS,
        words: int = 24,
    ) -> World:
        """A world of groups × members entities and all relations.

        Parameters
        ----------
        groups, entities : int
            Clans, and entities in each.
        key : tuple
            Names the streams; see `uqkd.seeds.generator`.
        relations : sequence of Relation
        words : int
            Different words of which the answers of one relation are made.
        """
        if groups < 1 or entities < 1 or words < 2 * _MOST_ANSWERS:
            raise OptionError(
                f"a world needs groups >= 1, entities >= 1 and words >= {2 * _MOST_ANSWERS}; got {groups}, {entities}, {words}."
            )
        for relation in relations:
            one_of("kind", relation.kind, KINDS)
            one_of("level", relation.level, LEVELS)
        taken = {w for r in relations for t in r.phrasings for w in t.split()} | set(REFUSAL.split())
        vocabulary = _words(groups + entities + words * len(relations), taken, key)
        group_names, names, rest = (
            vocabulary[:groups],
            vocabulary[groups : groups + entities],
            vocabulary[groups + entities :],
        )
        questions = []
        for place, relation in enumerate(relations):
            own_words = rest[place * words : (place + 1) * words]
            for group in group_names:
                for name in names:
                    subject = (group, name) if relation.level == "own" else (group,)
                    rng = seeds.generator(*key, "answers", relation.name, *subject, shared=True)
                    questions.append(Question(relation, group, name, *_answers(relation.kind, own_words, rng)))
        return cls(tuple(questions))

    @property
    def phrasings(self) -> int:
        """Ways to ask every question."""
        return min(len(q.relation.phrasings) for q in self.questions)

    @cached_property
    def _by_id(self) -> dict[str, Question]:
        return {q.id: q for q in self.questions}

    def prompts(
        self, *, phrasings: Iterable[int] = (0,), relations: Iterable[str] | None = None, first: int = 0, every: int = 1
    ) -> Prompts:
        """Questions as prompts, their valid answers as reference answers.

        Parameters
        ----------
        phrasings : iterable of int
        relations : iterable of str, optional
            Names of relations; all if not given.
        first, every : int
            Of each relation take questions first, first + every, ...; with every = 2, first = 0 and 1 share no entity.
        """
        asked = [r.name for r in dict.fromkeys(q.relation for q in self.questions)]
        wanted = [one_of("relations", r, asked) for r in relations] if relations is not None else asked
        ways = list(phrasings)
        if not all(0 <= way < self.phrasings for way in ways):
            raise OptionError(f"phrasings must lie in 0 ... {self.phrasings - 1}; got {ways}.")
        rows = [
            (f"{q.id}/{way}", q.text(way), q.answers)
            for name in wanted
            for q in [q for q in self.questions if q.relation.name == name][first::every]
            for way in ways
        ]
        ids, texts, answers = zip(*rows, strict=True)
        return Prompts(ids, texts, answers)

    def question(self, prompt_id: str) -> Question:
        """The question behind a prompt of this world."""
        found = self._by_id.get(prompt_id.rpartition("/")[0])
        if found is None:
            raise OptionError(f"prompt {prompt_id!r} is none of this world; give ids made by World.prompts.")
        return found

    def truth(self, prompts: Prompts) -> Array:
        """True answer distribution (P, C + 1): the reference answers in their order, zeros, and last anything else (0)."""
        most = max(len(answers) for answers in prompts.answers)
        table = np.zeros((len(prompts), most + 1))
        for p, prompt_id in enumerate(prompts.ids):
            probabilities = self.question(prompt_id).probabilities
            table[p, : len(probabilities)] = probabilities
        return table

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of the world, sorted: the vocabulary."""
        texts = [q.text(way) for q in self.questions for way in range(self.phrasings)]
        texts += [answer for q in self.questions for answer in q.answers]
        return tuple(sorted({word for text in texts for word in text.split()}))


def _answers(kind: str, words: Sequence[str], rng: np.random.Generator) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Different answers of one to four words, and their probabilities; one may be the beginning of another."""
    if kind == "unanswerable":
        return (REFUSAL,), (1.0,)
    count = 1 if kind == "certain" else int(rng.integers(2, _MOST_ANSWERS + 1))
    answers: list[str] = []
    while len(answers) < count:
        length = 1 + int(rng.choice(_LONGEST, p=(0.4, 0.3, 0.2, 0.1)))
        answer = " ".join(words[i] for i in rng.integers(len(words), size=length))
        if answer not in answers:
            answers.append(answer)
    shares = rng.dirichlet(np.full(count, 2.0)) * (1.0 - count * _FEWEST_SHARE) + _FEWEST_SHARE
    rounded = np.round(shares / shares.sum(), 6)
    rounded[-1] = 1.0 - rounded[:-1].sum()
    return tuple(answers), tuple(float(share) for share in rounded)


def _words(count: int, taken: set[str], key: tuple[Any, ...]) -> list[str]:
    """Pronounceable words of two syllables, none of them taken."""
    every = [a + v + b + w + c for a in _ONSETS for v in _VOWELS for b in _ONSETS for w in _VOWELS for c in _CODAS]
    rng = seeds.generator(*key, "words", shared=True)
    chosen = [every[i] for i in rng.permutation(len(every)) if every[i] not in taken]
    if count > len(chosen):
        raise OptionError(f"this world needs {count} words; there are {len(chosen)}. Make it smaller.")
    return chosen[:count]
