"""Teachers without a model, for tests of what surrounds one: the bank, the commands, the faults."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from uqkd import seeds
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.prompts.rendering import Rendered, ids_hash
from uqkd.llm.requests import Completion, Refusal, Request, TeacherInfo
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.responding import Responding

INFO = TeacherInfo("toy", "rev-1", "toy", "1", "float64", "processed", False)
Answer = Callable[[Request], Completion | Refusal]


class ToyEncoder:
    """Renders a prompt as the ids that `ids` gives for its text; one token a character if it is not given.

    Texts of several turns are rendered with all of them. `form` is what a chat template would be: another one, other ids.
    """

    def __init__(
        self,
        stop_ids: tuple[int, ...] = (2,),
        ids: Callable[[str], tuple[int, ...]] | None = None,
        *,
        form: str = "{}",
        context: int = 0,
    ) -> None:
        self.stop_ids, self.form, self.context = stop_ids, form, context
        self._ids = ids or (lambda text: tuple(text.encode("utf-8", "surrogatepass")))
        self.day: str | None = None

    def on_day(self, day: str | None) -> ToyEncoder:
        self.day = day
        return self

    def render(self, prompts: Prompts, *, max_tokens: int) -> Rendered:
        asked = ("\n".join(text for _, text in prompts.turns(place)) for place in range(len(prompts)))
        ids = tuple(self._ids(self.form.format(text)) for text in asked)
        too_long = {
            place: f"has {len(own)} tokens"
            for place, own in enumerate(ids)
            if self.context and len(own) + max_tokens > self.context
        }
        return Rendered(ids, tuple(map(ids_hash, ids)), too_long)

    def decode(self, token_ids: Iterable[int]) -> str:
        return " ".join(map(str, token_ids))


class ToyTeacher(Responding):
    """Answers each request by a function, one by one.

    Parameters
    ----------
    answer : callable
        Request → Completion or Refusal; what it raises, the engine raises.
    encoder : ToyEncoder, optional
    **about
        Fields of `TeacherInfo` that are not those of `INFO`.

    Attributes
    ----------
    asked : list of int
        Requests taken by each stream, that is by each `fill_bank` that had something to draw.
    requests : list of Request
        All of them, in the order in which they were taken.
    """

    def __init__(self, answer: Answer, *, encoder: ToyEncoder | None = None, **about: object) -> None:
        self.answer = answer
        self.about = dataclasses.replace(INFO, **about)  # type: ignore[arg-type]
        self.encoder = encoder or ToyEncoder()
        self.asked: list[int] = []
        self.requests: list[Request] = []

    def stream(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Completion | Refusal]]:
        self.asked.append(0)
        for place, request in enumerate(requests):
            self.asked[-1] += 1
            self.requests.append(request)
            yield place, self.answer(request)

    def close(self) -> None:
        pass


def throw(request: Request) -> Completion:
    """Three throws of a die with 50 faces, from the request's own seed, and the token that ends them."""
    ids = (*(10 + seeds.drawn_from(request.seed).integers(50, size=3)).tolist(), 2)
    return Completion(ids, " ".join(map(str, ids[:-1])), (-np.log(50.0),) * 3 + (0.0,), "stop")


def dice(answer: Answer = throw, **options: object) -> ToyTeacher:
    """A teacher that throws dice."""
    return ToyTeacher(answer, **options)  # type: ignore[arg-type]


class Around:
    """A real teacher with something wrong about it: requests, answers or both are passed through functions.

    Parameters
    ----------
    teacher : Teacher
    request : callable, optional
        (place, Request) → Request: what the teacher is asked instead.
    answer : callable, optional
        (place, answer) → answer; may raise, as an engine that dies.
    """

    def __init__(
        self,
        teacher: object,
        *,
        request: Callable[[int, Request], Request] = lambda _place, one: one,
        answer: Callable[[int, Completion | Refusal], Completion | Refusal] = lambda _place, one: one,
    ) -> None:
        self.teacher, self.about, self.encoder = teacher, teacher.about, teacher.encoder  # type: ignore[attr-defined]
        self._request, self._answer = request, answer

    def stream(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Completion | Refusal]]:
        asked = (self._request(place, one) for place, one in enumerate(requests))
        for place, answer in self.teacher.stream(asked, sampling):  # type: ignore[attr-defined]
            yield place, self._answer(place, answer)

    def close(self) -> None:
        self.teacher.close()  # type: ignore[attr-defined]


def failing(teacher: object, *, after: int, problem: BaseException) -> Around:
    """A teacher whose engine fails when it has answered so many requests."""
    answered = 0

    def answer(_place: int, one: Completion | Refusal) -> Completion | Refusal:
        nonlocal answered
        answered += 1
        if answered > after:
            raise problem
        return one

    return Around(teacher, answer=answer)


def deaf(teacher: object, seed_of: Callable[[int], int]) -> Around:
    """A teacher that ignores the seeds of requests: that of place i is `seed_of(i)`, as with an engine's default."""
    return Around(teacher, request=lambda place, one: dataclasses.replace(one, seed=seed_of(place)))
