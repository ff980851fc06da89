"""Check that a stacked model computes for every student what the student computes alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from uqkd import seeds
from uqkd.errors import ShapeError
from uqkd.stacked.layers.basic import Dropout
from uqkd.stacked.stacking import Stacked, tensor_at

MODES = (False, True)  # of training


@torch.no_grad()
def check_stacking(
    model: Stacked,
    X: ArrayLike | Tensor,
    *,
    tolerance: float | None = None,
    students: int = 8,
    modes: Sequence[bool] = MODES,
) -> float:
    """Compare the stacked outputs with those of each student alone, on rows like X (N, ...).

    Compares students with parameters shifted a little, so that equal ones cannot hide a mixture, each on rows of its own:
    X without one row, and fractions shifted too. Leaves the model as it was.

    Parameters
    ----------
    model : Stacked
    X : (N, ...) float or int
    tolerance : float, optional
        1e-4 in float32 and 1e-10 in float64 if not given.
    students : int
        How many at most.
    modes : sequence of bool
        In evaluation (False), in training (True, where nothing is dropped), or both.

    Returns
    -------
    float
        Largest difference, relative to outputs larger than 1.

    Raises
    ------
    ShapeError
        Students or rows are mixed by the module's forward, or it draws from torch's global random state.

    Examples
    --------
    >>> from torch import nn
    >>> check_stacking(Stacked.of(nn.Linear(2, 1), 3), torch.ones(5, 2)) < 1e-6
    True
    """
    limit = tolerance if tolerance is not None else {"float32": 1e-4, "float64": 1e-10}[model.dtype]
    was, rows, worst = model.training, model.tensor(X), 0.0
    drops = any(isinstance(leaf, Dropout) and leaf.p > 0 for leaf in model.body.modules())
    try:
        for training in modes:
            if not (training and drops):
                model.train(training)
                worst = max(worst, _difference(model, rows, min(model.students, students)))
    finally:
        model.train(was)
    if not worst <= limit:
        raise ShapeError(
            f"stacked and lone students differ by {worst:.3g} (allowed {limit:.3g}): the module's forward does not treat rows "
            "independently (a mean over the batch, a transposed batch axis, ...). Keep rows on the first axis."
        )
    return worst


def _difference(model: Stacked, rows: Tensor, count: int) -> float:
    def shifted(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor[:count].clone()
        place = torch.arange(count, device=tensor.device, dtype=tensor.dtype).reshape(-1, *(1,) * (tensor.ndim - 1))
        return tensor[:count] * (1 + 0.05 * place) + 0.01 * place

    parameters, buffers = ([shifted(tensor_at(p)) for p in kind] for kind in model.places[:2])
    own = shifted(torch.stack([rows.roll(-s, 0)[: max(1, len(rows) - 1)] for s in range(count)]))
    with model.holding(count, parameters, buffers):
        alone = torch.stack([model.student(s)(own[s]) for s in range(count)])
        before = seeds.torch_global_state()
        together = model(own, shared=False)
    if not torch.equal(before, seeds.torch_global_state()):
        raise ShapeError("the module's forward draws from torch's global random state; use nn.Dropout for dropout.")
    if together.shape != alone.shape:
        raise ShapeError(
            f"stacked outputs are {tuple(together.shape)} but those of lone students {tuple(alone.shape)}."
        )
    return float(((together - alone).abs() / alone.abs().clamp(min=1.0)).max())
