"""Components averaged over prompts that the same students answer: exact, and the coverage of their limits."""

import itertools

import numpy as np
import pytest

from uqkd.errors import DataError, NotFiniteError, ShapeError
from uqkd.estimators import mean_variance_components, variance_components
from uqkd.estimators.variance import components as module
from uqkd.seeds import generator


def design(*levels):
    grid = np.indices(levels).reshape(len(levels), -1)
    return dict(zip("tiob", grid, strict=False))


@pytest.mark.parametrize("levels", [(3, 4), (2, 3, 4), (2, 2, 3, 2)])
@pytest.mark.parametrize("replicates", [1, 2])
def test_is_the_mean_of_the_components_prompt_by_prompt(levels, replicates):
    factors = {name: np.repeat(level, replicates) for name, level in design(*levels).items()}
    values = generator("test", "mean components", levels, replicates).standard_normal((len(factors["t"]), 5))
    order = generator("test", "mean components", "order", levels).permutation(len(values))
    factors, values = {name: level[order] for name, level in factors.items()}, values[order]
    together = mean_variance_components(values, factors)
    single = [variance_components({**factors, "value": column}, list(factors)) for column in values.T]
    np.testing.assert_allclose(together.estimate, np.mean([s.estimate for s in single], axis=0), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(together.mean_square, np.mean([s.mean_square for s in single], axis=0), rtol=1e-12)
    assert together.effects == single[0].effects
    assert together.total == pytest.approx(np.mean([s.total for s in single]), rel=1e-12)


def test_one_prompt_gives_the_limits_of_one_prompt():
    factors = design(4, 5)
    values = generator("test", "mean components", "one").standard_normal((20, 1))
    together, single = mean_variance_components(values, factors), variance_components(
        {**factors, "value": values[:, 0]}, ["t", "i"]
    )  # fmt: skip
    np.testing.assert_allclose([together.low, together.high], [single.low, single.high], rtol=1e-12)


def test_equal_prompts_add_nothing_and_independent_ones_add_up():
    rng = generator("test", "mean components", "dependence")
    one, many = rng.standard_normal((42, 1)), rng.standard_normal((42, 400))
    cube = np.repeat(one, 400, axis=1)[np.arange(42).reshape(6, 7, 1)]
    _, dof, equal = module._mean_squares(cube, ["t", "i"])
    _, _, independent = module._mean_squares(many[np.arange(42).reshape(6, 7, 1)], ["t", "i"])
    for effect in dof:
        assert equal[effect] == pytest.approx(dof[effect], rel=1e-9)
        assert (
            independent[effect] > 30 * dof[effect]
        )  # about √(400 · ν), ν the plug-in ratio of 400 independent prompts


def students(levels, scale, rng):
    """Answers to 12 prompts: each effect has its own dependence between prompts (rank 3 and noise)."""
    factors = [np.arange(n) for n in levels]
    total = np.zeros((*levels, 12))
    for size in range(1, len(levels) + 1):
        for axes in itertools.combinations(range(len(levels)), size):
            mix = generator("test", "mean components", "mix", axes, shared=True).standard_normal((3, 12))
            shape = tuple(len(factors[a]) if a in axes else 1 for a in range(len(levels)))
            effect = rng.standard_normal((*shape, 3)) @ mix + rng.standard_normal((*shape, 12))
            total += effect * (scale if size == 1 else 0.5)
    return total.reshape(-1, 12)


def truth(axes, scale):
    mix = generator("test", "mean components", "mix", axes, shared=True).standard_normal((3, 12))
    return ((mix**2).sum(axis=0) + 1).mean() * (scale if len(axes) == 1 else 0.5) ** 2


def coverage(levels, experiments):
    factors, hits = design(*levels), 0.0
    axes = [s for size in range(1, len(levels) + 1) for s in itertools.combinations(range(len(levels)), size)]
    true = np.array([truth(a, 1.0) for a in axes])
    rng = generator("test", "mean components", "coverage", levels)
    for _ in range(experiments):
        parts = mean_variance_components(students(levels, 1.0, rng), factors)
        hits = hits + ((parts.low <= true) & (true <= parts.high))
    return hits / experiments


@pytest.mark.parametrize("levels", [(5, 6), (10, 8), (6, 5, 4)])
def test_limits_cover_what_the_note_says(levels):
    """1,000 experiments: the sd of a share is .0075 at .94 and .0039 at .985; four of them on each side."""
    shares = coverage(levels, 1_000)
    assert shares.min() > 0.94 - 4 * 0.0075
    assert shares.max() < 0.985 + 4 * 0.0039 - 0.001


@pytest.mark.parametrize("wrong", ["one prompt", "all prompts"])
def test_a_wrong_number_of_degrees_of_freedom_is_seen(monkeypatch, wrong):
    """Dependence between prompts ignored one way (as if there were one) or the other (as if they were independent)."""

    def averaged(effect, weight, dof):
        prompts = effect.shape[-1]
        trace = weight * float((effect**2).sum()) / dof / prompts
        return trace, float(dof * (1 if wrong == "one prompt" else prompts))

    monkeypatch.setattr(module, "_averaged", averaged)
    shares = coverage((5, 6), 1_000)
    assert shares.min() < 0.94 - 4 * 0.0075 or shares.max() > 0.985 + 4 * 0.0039 - 0.001


@pytest.mark.parametrize(
    ("values", "factors", "error", "says"),
    [
        (np.zeros(4), design(2, 2), ShapeError, r"axes \(S, P\)"),
        (np.full((4, 2), np.nan), design(2, 2), NotFiniteError, "values"),
        (np.zeros((3, 2)), {"t": [0, 0, 1], "i": [0, 1, 0]}, DataError, "balanced"),
        (np.zeros((4, 2)), {"t": [0, 0, 0, 0], "i": [0, 1, 2, 3]}, ShapeError, "one level"),
    ],
)
def test_bad_input_is_refused(values, factors, error, says):
    with pytest.raises(error, match=says):
        mean_variance_components(values, factors)
