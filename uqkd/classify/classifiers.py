"""S trained classifiers: what teachers and students both are. Trained together, asked together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from uqkd import seeds
from uqkd.checking.probabilities import class_labels
from uqkd.classify.arguments import check_type, checked_factory, checked_key, checked_network, is_int
from uqkd.classify.networks.outputs import PROBE_ROWS, checked_logits, refuse_classes
from uqkd.classify.networks.plain import Factory
from uqkd.classify.networks.rows import checked_rows, refused
from uqkd.errors import OptionError, ShapeError, UqkdWarning
from uqkd.estimators.variance.categorical import labels_at
from uqkd.stacked import Recipe, SeedDesign, Stacked, batch_orders, bootstrap_rows, check_stacking, train
from uqkd.stacked.jobs import Transform
from uqkd.stacked.layers.basic import Linear

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Loss = Callable[[Tensor, Tensor], Tensor]

BLOCK = 2**22  # numbers of the inputs of all students that pass through a network at a time
DRAWN = ("responses", "initialisation", "order", "bootstrap")  # sources of randomness that classifiers have


@dataclass(frozen=True)
class Classifiers:
    """S classifiers of one architecture; made by `fit_classifiers`, `distill` or `out_of_fold`.

    Attributes
    ----------
    model : Stacked
        All that were trained, the failed ones at their last finite parameters.
    failed_at : (S + failed,) int
        Of every one trained, the step at which it diverged; -1 for those kept.
    loss : (S + failed,) float
        At the last step of each.
    """

    model: Stacked
    failed_at: NDArray[np.int64]
    loss: Array

    @property
    def kept(self) -> NDArray[np.int64]:
        """(S,) places of those kept among all that were trained."""
        return np.flatnonzero(self.failed_at < 0)

    def logits(self, X: ArrayLike | Tensor) -> Array:
        """Logits at the rows of X (P, ...), as (S, P, C)."""
        return checked_logits(_blocks(self.model, X))[self.kept]

    def predict_proba(self, X: ArrayLike | Tensor) -> Array:
        """Class probabilities at the rows of X (P, ...), as (S, P, C): rows sum to one in float64."""
        return torch.from_numpy(self.logits(X)).softmax(-1).numpy()

    def features(self, X: ArrayLike | Tensor) -> Array:
        """What the last linear layer gets at the rows of X (P, ...), as (S, P, D)."""
        with _last_input(self.model) as seen:
            _blocks(self.model, X)
        return np.concatenate(seen, axis=1)[self.kept].astype(np.float64)

    def predict(self, X: ArrayLike | Tensor, draws: int, *, key: tuple[Any, ...]) -> Labels:
        """Draw R class labels per prompt from the distribution of each, (S, P, R) int, from the stream named by `key`."""
        if not is_int(draws, 1):
            raise OptionError(f"predict needs draws >= 1; got {draws!r}.")
        return draw_labels(self.predict_proba(X), draws, key=key)

    def alone(self, s: int) -> nn.Module:
        """Number s of those kept, as a plain module."""
        if not is_int(s, -len(self.kept)) or s >= len(self.kept):
            raise OptionError(f"alone needs the number of one of the {len(self.kept)} kept, from 0; got {s!r}.")
        return self.model.student(int(self.kept[s]))


def draw_labels(probabilities: Array, responses: int, *, key: tuple[Any, ...]) -> Labels:
    """Labels drawn by inversion from distributions (S, P, C), as (S, P, R): the first are the same whatever R.

    Examples
    --------
    >>> draw_labels(np.array([[[0.0, 1.0]]]), 3, key=("doc",))
    array([[[1, 1, 1]]])
    """
    uniform = seeds.generator(*checked_key(key)).random((responses, *probabilities.shape[:2]))
    return np.moveaxis(labels_at(probabilities, uniform), 0, -1)


def one_hot(labels: ArrayLike, rows: int, classes: int) -> Array:
    """Label distributions (1, P, C) of labels (P,), or a typed error that names the first that is none.

    Examples
    --------
    >>> one_hot([1], 1, 2)
    array([[[0., 1.]]])
    """
    if not is_int(classes, 2):
        raise OptionError(f"a classifier needs a whole number of classes >= 2; got classes={classes!r}.")
    return np.asarray(np.eye(classes)[class_labels(labels, rows, classes)][None])


def fit_classifiers(
    X: ArrayLike | Tensor,
    targets: ArrayLike | Tensor,
    *,
    factory: Factory | Stacked,
    loss: Loss,
    recipe: Recipe,
    seed_design: SeedDesign,
    key: tuple[Any, ...],
    rows: NDArray[np.bool_] | None = None,
    transform: Transform | None = None,
    device: str = "cpu",
    engine: str = "auto",
    exclude_failed: bool = False,
    classes: int | None = None,
    who: str = "student",
) -> Classifiers:
    """Train S classifiers in one pass; the ways to train (teachers, folds, students) differ in targets, loss and transform.

    Parameters
    ----------
    X : (P, ...) float or int
        Features, images, or token ids.
    targets : (S or 1, P, D) float
        What the loss compares logits with.
    factory : callable, or Stacked
        Builds one classifier; a stacked model is trained further, in a copy.
    loss : callable
        See `uqkd.stacked.losses`.
    recipe : Recipe
    seed_design : SeedDesign
        Levels of initialisation, order and bootstrap.
    key : tuple
        Names the streams.
    rows : (S, P) bool, optional
        Which rows each may see; all if not given.
    transform : callable, optional
        See `uqkd.stacked.train`.
    device, engine : str
    exclude_failed : bool
        Leave out those that diverge, with a warning that says how many remain. Otherwise they are an error.
    classes : int, optional
        C of the targets, which the network must have too.
    who : str
        What messages call one of them.

    Returns
    -------
    Classifiers

    Raises
    ------
    DivergedError
        Names those that diverged, and when.
    NotFiniteError, DataError
        Rows that are not finite, or not what the network takes.
    ShapeError
        Arguments that do not fit each other.
    OptionError
        A factory, seed_design, a recipe or a key that are none; a network that ends in a softmax.
    """
    factory, key = checked_factory(factory), checked_key(key)
    check_type("seed_design", seed_design, SeedDesign, "Pass SeedDesign.independent(students).")
    seed_design.refuse_others(f"a {who} of classify", DRAWN)
    check_type("recipe", recipe, Recipe, "Pass Recipe(steps=...).")
    model = _copied(factory, key) if isinstance(factory, Stacked) else _begun(factory, seed_design, key, device)
    values = checked_rows(model, X)
    orders = _orders(len(values), recipe, seed_design, key, rows)
    begun = checked_logits(_blocks(model, values[:PROBE_ROWS]))
    if classes is not None:
        refuse_classes(begun, targets, classes)
    with refused(values):  # a module that mixes students is named before any work
        check_stacking(model, values[:3], students=2, modes=(False,))
    with refused(values, (IndexError,)):
        done = train(
            model, values, targets, recipe, loss=loss, orders=orders, transform=transform, engine=engine
        )  # fmt: skip
    healthy = done.refuse_failed(exclude_failed=exclude_failed, who=who)
    if not healthy.all():
        warnings.warn(
            f"{int(healthy.sum())} of {len(healthy)} classifiers are kept; the others diverged.",
            UqkdWarning,
            stacklevel=3,
        )
    return Classifiers(model, done.failed_at, done.loss)


def _copied(model: Stacked, key: tuple[Any, ...]) -> Stacked:
    """The same classifiers in a model of its own."""
    students, device = model.students, str(model.device)
    copied = Stacked.of(model.template, students, key=(*key, "dropout"), device=device, dropout=range(students))
    copied.load(model.parameters_by_name(buffers=True))
    return copied


def _begun(factory: Factory, seed_design: SeedDesign, key: tuple[Any, ...], device: str) -> Stacked:
    """S classifiers, each as the factory builds it from the stream of its level of initialisation."""
    shared = seed_design.recurs("initialisation")
    with seeds.torch_stream(*key, "initialisation", int(seed_design.initialisation[0]), shared=True):
        template = checked_network(factory(), "factory must build")
    model = Stacked.of(
        template,
        seed_design.students,
        key=(*key, "dropout"),
        device=device,
        dropout=[int(level) for level in seed_design.order],
    )
    held = model.parameters_by_name(buffers=True)
    with torch.no_grad():
        for s, level in enumerate(seed_design.initialisation):
            with seeds.torch_stream(
                *key, "initialisation", int(level), shared=shared or level in seed_design.initialisation[:s]
            ):
                begun = factory()
            for name, value in begun.state_dict().items():
                if name in held:
                    held[name][s].copy_(value)
    return model


def _orders(
    rows: int, recipe: Recipe, seed_design: SeedDesign, key: tuple[Any, ...], seen: NDArray[np.bool_] | None
) -> NDArray[np.int64] | None:
    """Rows of every step (S or 1, T, B), drawn from those that each may see."""
    allowed: list[NDArray[np.int64]] | None = None
    if seen is not None:
        if seen.shape != (seed_design.students, rows):
            raise ShapeError(f"rows must be (S={seed_design.students}, P={rows}) bool; got {seen.shape}.")
        allowed = [np.flatnonzero(mask) for mask in seen]
    elif seed_design.bootstrap is not None:
        allowed = list(
            bootstrap_rows(rows, seed_design.bootstrap, key=key, shared=seed_design.recurs("bootstrap")).astype(
                np.int64
            )
        )
    if recipe.batch is None:
        if allowed is not None and len({len(part) for part in allowed}) > 1:
            raise OptionError("classifiers that see different numbers of rows need a recipe with a batch size.")
        return None if allowed is None else np.stack(allowed)[:, None]
    shared = seed_design.recurs("order")
    if allowed is None:
        return batch_orders(rows, recipe.batch, recipe.steps, seed_design.order, key=key, shared=shared).astype(
            np.int64
        )
    return np.concatenate([
        part[batch_orders(len(part), recipe.batch, recipe.steps, [level], key=key, shared=shared or level in seed_design.order[:s])]
        for s, (part, level) in enumerate(zip(allowed, seed_design.order, strict=True))
    ])  # fmt: skip


@torch.inference_mode()
def _blocks(model: Stacked, X: ArrayLike | Tensor) -> Array:
    """Outputs of all, block of rows by block: memory stays flat."""
    rows = checked_rows(model, X)
    model.eval()
    size = max(1, BLOCK // max(1, model.students * rows[0].numel()))
    found = []
    for start in range(0, len(rows), size):
        with refused(rows):
            found.append(model(rows[start : start + size]).double().cpu().numpy())
    return np.concatenate(found, axis=1)


@contextmanager
def _last_input(model: Stacked) -> Iterator[list[Any]]:
    """Within, every forward pass leaves in the list what the last linear layer got, (S, N, D)."""
    linear = [part for part in model.body.modules() if isinstance(part, Linear)]
    if not linear:
        raise OptionError("features are what the last linear layer gets; this architecture has none.")
    seen: list[Any] = []
    latest: list[Tensor] = []

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        latest[:] = inputs[:1]  # the last to run is not always the last to have been built

    def keep(*_: Any) -> None:
        seen.append(model.fold.unfold(latest.pop()).float().cpu().numpy())

    handles = [part.register_forward_pre_hook(note) for part in linear]
    handles.append(model.body.register_forward_hook(keep))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
