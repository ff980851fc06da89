"""What the frozen layers below the first adapters compute for a row: the same for all students and steps, so computed once.

The hidden state that enters the first layer with an adapter is kept for every row, as long as a number of bytes holds them. The
layers below then pass it on instead of computing it. Whether that gives a model's own likelihoods is tried before it is relied
on; where it does not, every layer computes as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil  # comes with accelerate
import torch
from torch import Tensor, nn

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.llm.students.networks.forwards import forwards_replaced, outputs_noted
from uqkd.llm.students.networks.likelihood import SequenceLikelihood
from uqkd.llm.students.networks.low_rank import adapters_in_place
from uqkd.stacked import Stacked
from uqkd.stacked.layers.basic import Dropout, StackedLayer

GIB = 2**30
MOST_BYTES, SHARE = 2 * GIB, 0.25  # of a cache, and of the memory that is free
TOKENS = 2**13  # padded tokens that pass through the lower layers at a time on a GPU

Kept = tuple[bytes, Any]


class FrozenLayers:
    """The layers of one model below its first trained one, and what they computed; made by `frozen_layers_cached`.

    Attributes
    ----------
    why_not : str
        Why every layer computes as before; empty while the cache is used.
    budget : int
        Bytes that may be kept.
    held : int
        Bytes that are kept.
    computed : int
        Rows that passed through the lower layers so far.
    """

    def __init__(self, module: SequenceLikelihood, budget: int | None) -> None:
        self.budget, self.held, self.computed = budget or 0, 0, 0
        self._given, self._tried = budget, False
        self._rows: dict[Kept, Tensor] = {}
        self._more: list[
            tuple[Any, ...] | None
        ] = []  # what each lower layer returns beside its state, if that is a tuple
        self.why_not, self._lower, self._first = "", list[nn.Module](), nn.Module()
        found = _layers(module.model)
        if isinstance(found, str):
            self.why_not = found
        else:
            self._lower, self._first = found
            self._frozen = [p for p in module.model.parameters() if not p.requires_grad]
            self._versions = self._version()

    def prepare(self, module: SequenceLikelihood, rows: Tensor) -> Callable[[Callable[[], Any]], Any]:
        """How to run the model on these rows (B, 2, L): a function that is given the forward pass and runs it.

        What is not kept of the rows is computed now.
        """
        if not self.why_not and not self._tried:
            self._try(module, rows)
        if self.why_not:
            return lambda run: run()
        state = self._states(module, rows)

        def run_above(run: Callable[[], Any]) -> Any:
            with self._passing(state):
                return run()

        return run_above

    def _states(self, module: SequenceLikelihood, rows: Tensor) -> Tensor:
        """(B, width, H) entering the first trained layer, zero beyond the last token that a row needs."""
        if self._versions != self._version():
            self.clear()
            self._versions = self._version()
        ids, lengths = needed(rows)
        precision = (str(ids.device), torch.is_autocast_enabled(ids.device.type), self._frozen[0].dtype)
        host = ids.cpu().numpy()
        keys = [(host[n, :length].tobytes(), precision) for n, length in enumerate(lengths)]
        missing = {key: n for n, key in enumerate(keys) if key not in self._rows}
        fresh = self._computed(module, ids, lengths, missing) if missing else {}
        every = [self._rows[key] if key in self._rows else fresh[key] for key in keys]
        state = every[0].new_zeros(len(ids), ids.shape[1], *every[0].shape[1:])
        for own, row in zip(state, every, strict=True):
            own[: len(row)] = row
        return state

    @torch.no_grad()
    def _computed(
        self, module: SequenceLikelihood, ids: Tensor, lengths: Sequence[int], missing: dict[Kept, int]
    ) -> dict[Kept, Tensor]:
        """Of the rows of these places; kept as long as there is room, and never put out for others: rows come in turn.

        On a CPU one by one, at nearly the speed of many: the same bytes whatever rows it is asked for with, and so after a stop.
        """
        found: dict[Kept, Tensor] = {}
        waiting = sorted(missing.items(), key=lambda item: -lengths[item[1]])
        while waiting:
            longest = max(lengths[waiting[0][1]], 1)
            count = 1 if ids.device.type == "cpu" else max(TOKENS // longest, 1)
            piece, waiting = waiting[:count], waiting[count:]
            states = self._below(module, ids[[n for _, n in piece], :longest])
            for (key, n), state in zip(piece, states, strict=True):
                found[key] = state[: lengths[n]].clone()
                size = found[key].numel() * found[key].element_size()
                if self.held + size <= self.budget:
                    self._rows[key], self.held = found[key], self.held + size
        self.computed += len(missing)
        return found

    def _below(self, module: SequenceLikelihood, ids: Tensor) -> Tensor:
        """What enters the first trained layer. Random draws of the model's code leave no trace: nothing is dropped below."""

        def stop(*given: Any, **named: Any) -> None:
            raise _Reached(given[0] if given else named["hidden_states"])

        with seeds.global_states_kept(), forwards_replaced({self._first: stop}):
            try:
                module.run(ids)
            except _Reached as reached:
                return reached.state
        raise OptionError("the model did not come to its first trained layer.")

    @contextmanager
    def _passing(self, state: Tensor) -> Iterator[None]:
        """Within, the lower layers return the state, in the form that they returned theirs in when they were tried."""

        def passed(more: tuple[Any, ...] | None) -> Callable[..., Any]:
            return lambda *given, **named: state if more is None else (state, *more)

        with forwards_replaced({layer: passed(more) for layer, more in zip(self._lower, self._more, strict=True)}):
            yield

    @torch.no_grad()
    def _try(self, module: SequenceLikelihood, rows: Tensor) -> None:
        """Use the cache only if one row of each student has the same likelihood with it and without."""
        self._tried = True
        self.budget = _budget(rows.device) if self._given is None else self._given
        some = rows[:: max(len(rows) // _students(module), 1)]
        modes = {part: part.training for part in module.modules()}
        try:
            with seeds.global_states_kept():
                self.why_not = self._unlike(module, some)
        finally:
            module.below = self
            for part, was in modes.items():
                part.training = was
        self.clear()
        self.computed = 0

    def _unlike(self, module: SequenceLikelihood, rows: Tensor) -> str:
        """What differs, if anything.

        Half the digits of likelihoods must agree: rounding takes fewer, and a state that is not the layer's takes more.
        """
        ids, _ = needed(rows)
        as_trained = self._below(module.train(), ids)
        with outputs_noted(self._lower) as made:
            if not torch.equal(self._below(module.eval(), ids), as_trained):
                return "the frozen layers draw at random"
        if not all(map(_is_state, made)):
            return "the frozen layers give more than a hidden state to those above"
        self._more = [one[1:] if isinstance(one, tuple) else None for one in made]
        module.below = None
        whole = module(rows)
        module.below = self
        self._states(module, rows)
        self._below(module, torch.zeros_like(ids))  # what layers leave behind elsewhere is now that of other tokens
        found = module(rows)
        digits = torch.finfo(found.dtype).eps ** 0.5
        alike = torch.allclose(found, whole, rtol=digits, atol=digits)
        return "" if alike else "the layers above need more of the frozen ones than a hidden state"

    def _version(self) -> int:
        """Changes whenever a frozen parameter is written to."""
        return sum(p._version for p in self._frozen)

    def clear(self) -> None:
        """Forget all rows."""
        self._rows.clear()
        self.held = 0


class _Reached(Exception):
    """The forward pass has come to the first trained layer."""

    def __init__(self, state: Tensor) -> None:
        super().__init__()
        self.state = state


def needed(rows: Tensor) -> tuple[Tensor, list[int]]:
    """Token ids (B, width) that predict anything in rows (B, 2, L), and how many of each row.

    Examples
    --------
    >>> needed(torch.tensor([[[5, 6, 7, 2], [0, 1, 0, 0]], [[8, 9, 2, 0], [0, 0, 1, 0]]]))
    (tensor([[5, 6],
            [8, 9]]), [1, 2])
    """
    learnt = rows[:, 1, 1:] > 0
    places = torch.arange(1, learnt.shape[1] + 1, device=rows.device)
    lengths = (learnt * places).amax(1)
    return rows[:, 0, : int(lengths.max())], lengths.tolist()


@contextmanager
def frozen_layers_cached(model: Any, *, budget_bytes: int | None = None) -> Iterator[FrozenLayers]:
    """Within, what the frozen layers below the first adapters compute for a row is computed once and kept.

    Parameters
    ----------
    model : Stacked or SequenceLikelihood
        Students together, or one, or one after another in the same module. Left as it was.
    budget_bytes : int, optional
        How much may be kept; rows beyond it are computed whenever they come, once for all students of a step. A quarter of the
        memory that is free, at most 2 GiB, if not given.

    Yields
    ------
    FrozenLayers
        Says in `why_not` why every layer computes as before, where there is nothing below the adapters, where it drops at
        random, where the base is trained, and for models that are not a row of layers.

    Raises
    ------
    OptionError
        A negative number of bytes.
    """
    if budget_bytes is not None and budget_bytes < 0:
        raise OptionError(f"budget_bytes must be a number of bytes >= 0; got {budget_bytes}.")
    module: Any = model.body if isinstance(model, Stacked) else model
    before, module.below = module.below, FrozenLayers(module, budget_bytes)
    try:
        yield module.below
    finally:
        module.below.clear()
        module.below = before


@contextmanager
def frozen_base(model: Any, *, budget_bytes: int | None = None) -> Iterator[FrozenLayers]:
    """Within, a frozen base costs no more than it must: `frozen_layers_cached`, and `adapters_in_place` above them.

    What to train under. A model without adapters trains as it would anyway.
    """
    with frozen_layers_cached(model, budget_bytes=budget_bytes) as frozen, adapters_in_place(model):
        yield frozen


def _layers(model: nn.Module) -> tuple[list[nn.Module], nn.Module] | str:
    """The layers below the first trained one, and that one; or why there are none."""
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    for rows in model.modules():
        if isinstance(rows, nn.ModuleList) and trained == {id(p) for p in rows.parameters() if p.requires_grad}:
            break
    else:
        return "what is trained lies not all in one row of layers"
    layers = list(rows)
    first = next(n for n, layer in enumerate(layers) if any(p.requires_grad for p in layer.parameters()))
    above = {id(part) for layer in layers[first:] for part in layer.modules()}
    below = [part for part in model.modules() if id(part) not in above]
    if not first:
        return "the first layer is trained"
    if any(_drops(part) for part in below):
        return "the frozen layers draw at random"
    return layers[:first], layers[first]


def _drops(part: nn.Module) -> bool:
    """Whether a stacked layer drops: it counts its calls, so it must not even be tried."""
    return isinstance(part, Dropout) and part.p > 0


def _students(module: nn.Module) -> int:
    """Students folded into the rows of a module."""
    return next((part.fold.students for part in module.modules() if isinstance(part, StackedLayer)), 1)


def _is_state(made: Any) -> bool:
    """Whether a layer returned a hidden state and nothing else of use."""
    if isinstance(made, tuple):
        return len(made) > 0 and isinstance(made[0], Tensor) and all(one is None for one in made[1:])
    return isinstance(made, Tensor)


def _budget(device: torch.device) -> int:
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return min(MOST_BYTES, int(SHARE * free))
