"""Let students answer, each into a bank of its own; those that are there already are not asked again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from uqkd.errors import ProvenanceError
from uqkd.llm.bank.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.measuring.answers.kept import answers_of
from uqkd.llm.models.revision import whole_revision
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.responses import Responses
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import open_students

KEY = ("llm", "measure")


def draw_students(
    models: Sequence[tuple[str, str | Path]],
    prompts: Prompts,
    draws: int,
    *,
    root: str,
    sampling: Sampling,
    say: Callable[[str], None] = lambda _line: None,
    progress: Callable[[int, int], None] | None = None,
    max_flagged: float = 1.0,
    **engine: Any,
) -> Responses:
    """Answers of several models to the same prompts.

    Parameters
    ----------
    models : sequence of S (name, path)
        The name is that of its bank below `root`, and names its draws.
    prompts : Prompts
    draws : int
        Responses to each prompt.
    root : str
        Folder or fsspec URL of the banks.
    sampling : Sampling
    say : callable
        Told which model is asked.
    progress : callable, optional
        Called with the counts of responses committed and wanted, of all models.
    max_flagged : float
        See `fill_bank`.
    **engine
        Of `open_students`: backend, device, ...

    Returns
    -------
    Responses
        (S, P, R).

    Raises
    ------
    ProvenanceError
        A bank below `root` holds answers of another model or of other sampling.
    """
    banks = [Bank(f"{root}/{name}") for name, _ in models]
    size, done = len(prompts) * draws, []
    for (name, path), bank in zip(models, banks, strict=True):
        _check(bank, name, path, sampling)
        done.append(size - len(bank.inventory(prompts, draws).missing))
    lacking = [place for place, count in enumerate(done) if count < size]
    with closing(open_students([models[place][1] for place in lacking], **engine)) as opened:
        for number, teacher in opened:
            place = lacking[number]
            name = models[place][0]
            say(f"{name}: drawing {draws} answers to each of {len(prompts)} prompts")

            def advance(count: int, _total: int, place: int = place) -> None:
                done[place] = count
                if progress is not None:
                    progress(sum(done), size * len(models))

            fill_bank(
                teacher, prompts, draws, bank=banks[place], sampling=sampling, key=(*KEY, name), progress=advance,
                max_flagged=max_flagged,
            )  # fmt: skip
    return answers_of(banks, prompts, draws)


def _check(bank: Bank, name: str, path: str | Path, sampling: Sampling) -> None:
    """Refuse answers that are there of another model or of other sampling: none may be missing, so that nobody else looks."""
    held = bank.identity
    if held is None:
        return
    asked = {**sampling.columns(), "revision": whole_revision(path)}
    differing = [key for key, value in asked.items() if held.get(key) != value]
    if differing:
        what = "; ".join(f"{key}: {held.get(key)!r} there, {asked[key]!r} now" for key in differing)
        raise ProvenanceError(
            f"the answers of {name!r} in {bank.root!r} are of another model or of other sampling ({what}). Give another --out, or "
            "delete them."
        )
