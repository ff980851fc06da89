"""S students of one architecture as one module: run them, hand their parameters in and out, take them apart again."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from uqkd import seeds
from uqkd.errors import OptionError, ShapeError, nearest, one_of
from uqkd.stacked.layers.basic import Dropout, Fold, StackedLayer
from uqkd.stacked.layers.replacing import is_shared, refuse_unknown, replaced

DTYPES = {"float32": torch.float32, "float64": torch.float64}


Place = list[tuple[dict[str, Any], str]]  # dicts of modules and names in them; several where one tensor is tied


class Places(NamedTuple):
    """Where a model holds its parameters (S, ...), student-wise buffers (S, ...) and buffers equal for all students."""

    parameters: list[Place]
    buffers: list[Place]
    constants: list[Place]


class Stacked(nn.Module):
    """S students of one architecture as one module; made by `stack` or `Stacked.of`.

    `model(X)` gives the outputs of all students, (S, N, ...), for rows X shared by all; `model(X, shared=False)` takes
    rows of each student's own, (S, N, ...). Modes are those of any module: `model.train()`, `model.eval()`.

    Attributes
    ----------
    students : int
        S.
    dtype : str
        "float32" or "float64".

    Examples
    --------
    >>> model = Stacked.of(nn.Linear(2, 1), 3)
    >>> model.load({"weight": [[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]], "bias": [[0.0], [0.0], [5.0]]})
    >>> model(torch.tensor([[2.0, 3.0]])).flatten().tolist()
    [2.0, 3.0, 10.0]
    >>> model.student(2)
    Linear(in_features=2, out_features=1, bias=True)
    """

    body: nn.Module

    def __init__(
        self, template: nn.Module, students: int, *, dtype: str, device: str, share_frozen: bool = False
    ) -> None:
        super().__init__()
        one_of("dtype", dtype, DTYPES)
        if students < 1:
            raise OptionError(f"stacking needs at least one student; got students={students}.")
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise OptionError(f"device got {device!r}, but torch {torch.__version__} sees no GPU; use device='cpu'.")
        refuse_unknown(template, share_frozen=share_frozen)
        self._shared = frozenset(id(p) for p in _shared_parameters(template)) if share_frozen else frozenset[int]()
        template = self._copied(template)
        _convert(template, DTYPES[dtype], share_frozen=share_frozen)
        self._alone = (template,)  # in a tuple: not a submodule
        self.fold, self.dtype = Fold(students), dtype
        self.body = replaced(self._copied(template), self.fold, share_frozen=share_frozen).to(device)
        self.train(template.training)

    @classmethod
    def of(
        cls,
        module: nn.Module,
        students: int,
        *,
        key: tuple[Any, ...] | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        share_frozen: bool = False,
        dropout: Sequence[int] | None = None,
    ) -> Stacked:
        """S equal copies of one module, for callers that fill in the parameters themselves with `load`.

        `key` names the streams of dropout masks, and is needed where the module drops anything; `dropout` gives the level of
        each student's stream, 0 ... S − 1 if not given: students of equal level drop alike. With `share_frozen`
        modules whose parameters are all frozen, such as the base under adapters, are held once, by all students, not copied
        and not converted.

        Examples
        --------
        >>> Stacked.of(nn.Linear(13, 1), 1000).parameters_by_name()["weight"].shape
        torch.Size([1000, 1, 13])
        """
        stacked = cls(module, students, dtype=dtype, device=device, share_frozen=share_frozen)
        levels = range(students) if dropout is None else dropout
        for path, leaf in stacked.body.named_modules():
            if isinstance(leaf, Dropout) and leaf.p > 0:
                if key is None:
                    raise OptionError(f"Dropout at {path!r} needs key=(...), which names its streams; got None.")
                drawn = [
                    seeds.seed63(*key, "dropout", path, int(level), shared=dropout is not None) for level in levels
                ]
                leaf.seeds = torch.tensor(drawn, device=device)
        return stacked

    @property
    def students(self) -> int:
        """S."""
        return self.fold.students

    @property
    def template(self) -> nn.Module:
        """One student as the factory made it: the architecture; its parameters mean nothing."""
        return self._alone[0]

    @property
    def device(self) -> torch.device:
        """Where the students live."""
        return next((p.device for p in self.body.parameters()), torch.device("cpu"))

    def forward(self, X: ArrayLike | Tensor, *, shared: bool = True) -> Tensor:
        """Outputs of all students, (S, N, ...), for X (N, ...) shared by all or, with shared=False, (S, N, ...)."""
        rows = self.tensor(X)
        if not shared and (rows.ndim < 2 or rows.shape[0] != self.students):
            raise ShapeError(
                f"with shared=False X holds rows of each student's own, (S={self.students}, N, ...); got {tuple(rows.shape)}. "
                "Rows for all students alike, (N, ...), go with shared=True."
            )
        return self.run_own(rows.expand(self.students, *rows.shape) if shared else rows)

    def run_own(self, X: Tensor) -> Tensor:
        """Outputs (S, N, ...) for rows (S, N, ...)."""
        folded, self.fold.rows = X.flatten(0, 1), X.shape[1]
        try:
            found = self.body(folded)
        except AttributeError as error:  # of code that asks a layer for more than its stacked form has
            raise OptionError(f"cannot stack this architecture: {error}.") from error
        if not isinstance(found, Tensor) or found.ndim == 0 or found.shape[0] != len(folded):
            seen = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ShapeError(f"a student must turn N rows into one tensor of N rows; {len(folded)} rows gave {seen}.")
        return self.fold.unfold(found)

    def tensor(self, values: ArrayLike | Tensor) -> Tensor:
        """Values as a tensor on the model's device; fractions in its number type, integers (tokens) as they are."""
        tensor = as_tensor(values)
        dtype = DTYPES[self.dtype] if tensor.is_floating_point() else tensor.dtype
        return tensor.to(device=self.device, dtype=dtype)

    def parameters_by_name(self, *, buffers: bool = False) -> dict[str, Tensor]:
        """Name in one student's state_dict → (S, ...) tensor; tied parameters under each name, the same tensor."""
        every = self.body.named_parameters(remove_duplicate=False)
        found: dict[str, Tensor] = {n: p.detach() for n, p in every if id(p) not in self._shared}
        if buffers:
            found |= {
                name: value for name, value in self.body.state_dict().items() if name not in found and self.is_own(name)
            }
        return found

    def is_own(self, name: str) -> bool:
        """Whether a parameter or buffer has a value for each student."""
        return isinstance(self.body.get_submodule(name.rpartition(".")[0]), StackedLayer)

    @torch.no_grad()
    def load(self, parameters: Mapping[str, ArrayLike | Tensor]) -> None:
        """Set parameters by name, (S, ...) each: all of them, and the buffers that are given.

        Raises
        ------
        OptionError
            A name that the students do not have, or a parameter left out.
        ShapeError
            Another shape.
        """
        held, known = self.parameters_by_name(), self.parameters_by_name(buffers=True)
        for name, values in parameters.items():
            if name not in known:
                raise OptionError(f"load got {name!r}; {nearest(name, known)}.")
            tensor = as_tensor(values)
            if tensor.shape != known[name].shape:
                raise ShapeError(
                    f"load: {name} is {tuple(known[name].shape)}, students first; got {tuple(tensor.shape)}."
                )
        given = {id(self.body.get_parameter(name)) for name in held if name in parameters}
        missing = [name for name in held if id(self.body.get_parameter(name)) not in given]
        if missing:
            raise OptionError(f"load needs every parameter; {', '.join(missing)} not given.")
        for name, values in parameters.items():
            known[name].copy_(as_tensor(values))

    def student(self, s: int) -> nn.Module:
        """Student s as a plain module, as the factory makes them: for comparing and exporting.

        Buffers and mode are those of the student; dropout in it is torch's own.
        """
        if not -self.students <= s < self.students:
            raise OptionError(f"student {s} asked of S={self.students} students.")
        alone = self._copied(self.template).to(self.device)
        alone.load_state_dict(
            {name: value[s] if self.is_own(name) else value for name, value in self.body.state_dict().items()}
        )
        held = dict(alone.named_buffers())
        for name, value in self.body.named_buffers():  # those that a state_dict leaves out too
            if name in held and self.is_own(name):
                held[name].copy_(value[s])
        return alone.train(self.training)

    def _copied(self, module: nn.Module) -> nn.Module:
        """A copy that holds the shared parameters themselves."""
        return copy.deepcopy(module, {id(p): p for p in module.parameters() if id(p) in self._shared})

    @cached_property
    def places(self) -> Places:
        """Where the tensors of the students are held."""
        parameters: dict[int, Place] = {}
        buffers: dict[int, Place] = {}
        constants: list[Place] = []
        for module in self.body.modules():
            if not isinstance(module, StackedLayer):
                constants += [[(module._buffers, n)] for n, b in module._buffers.items() if b is not None]
                continue
            for held, found in ((module._parameters, parameters), (module._buffers, buffers)):
                for name, tensor in held.items():
                    if tensor is not None:
                        found.setdefault(id(tensor), []).append((held, name))
        return Places(list(parameters.values()), list(buffers.values()), constants)

    @contextmanager
    def holding(
        self, students: int, parameters: Sequence[Tensor], buffers: Sequence[Tensor], constants: Sequence[Tensor] = ()
    ) -> Iterator[list[Tensor]]:
        """Inside the block the model is one of other students: theirs are the tensors, in the order of `places`.

        Yields a list that at the end of the block holds the buffers as the forward passes left them.
        """
        places = [*self.places.parameters, *self.places.buffers, *(self.places.constants if constants else ())]
        before = [tensor_at(place) for place in places]
        size = self.students
        left: list[Tensor] = []
        try:
            for place, tensor in zip(places, [*parameters, *buffers, *constants], strict=True):
                _put(place, tensor)
            self.fold.students = students
            yield left
            left.extend(tensor_at(place) for place in self.places.buffers)
        finally:
            self.fold.students = size
            for place, tensor in zip(places, before, strict=True):
                _put(place, tensor)


def _shared_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    for part in module.modules():
        if is_shared(part):
            yield from (p for p in part._parameters.values() if p is not None)


def _convert(module: nn.Module, dtype: torch.dtype, *, share_frozen: bool) -> None:
    """Bring parameters and buffers to a number type, but for what is shared."""
    for part in module.modules():
        if not (share_frozen and is_shared(part)):
            part._apply(lambda t: t.to(dtype) if t.is_floating_point() else t, recurse=False)


def as_tensor(values: ArrayLike | Tensor) -> Tensor:
    """As a tensor; arrays that must not be written to, of which torch warns, as copies."""
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()
    return torch.as_tensor(values)


def tensor_at(place: Place) -> Tensor:
    """The tensor now at a place."""
    held, name = place[0]
    return held[name]


def _put(place: Place, tensor: Tensor) -> None:
    for held, name in place:
        held[name] = tensor
