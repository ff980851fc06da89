"""Neural students: identities that hold to rounding, sources that are shared to the bit, and T3 by simulation."""

import numpy as np
import pytest
import torch

from uqkd import seeds
from uqkd.errors import DivergedError, OptionError, SeedReuseError, ShapeError, UqkdWarning
from uqkd.mlp import (
    Answering,
    NumberTargets,
    Recipe,
    SeedDesign,
    Students,
    batch_orders,
    bootstrap_rows,
    distill,
    initialisation,
    weigh,
)
from uqkd.mlp.fitting import fit
from uqkd.mlp.teacher import GaussianAnswers

KEY = ("test", "students")
X = seeds.generator("test", "mlp", "X").standard_normal((24, 3))
MEAN = np.sin(X[:, 0]) + 0.5 * X[:, 1]
RECIPE = Recipe(steps=60)
ROUNDING = {"rtol": 0, "atol": 1e-10}  # parameters of size 1 in float64 after 60 steps; two sums in another order


class Known(Answering):
    """A teacher whose mean is known."""

    def __init__(self, mean, noise_var):
        self.answers = GaussianAnswers(mean, noise_var)

    def at(self, X):
        return self.answers


def at_levels(teacher, X, k, levels, *, key, shared=False):
    """Responses of students at these levels of the responses."""
    levels = np.asarray(levels)
    design = SeedDesign(levels, levels, levels, recurring=("responses",) if shared else ())
    return teacher.respond(X, k, students=design, key=key)


def responses(k, levels, noise_var=0.5):
    return at_levels(Known(MEAN, noise_var), X, k, levels, key=KEY)


def train(targets, seed_design, **options):
    common = {"hidden": (8,), "recipe": RECIPE, "key": KEY, "dtype": "float64"}
    return distill(options.pop("X", X), targets, seed_design=seed_design, **{**common, **options})


def assert_equal_students(one, other, **tolerance):
    for name, values in one.parameters.items():
        compare = np.testing.assert_allclose if tolerance else np.testing.assert_array_equal
        compare(values, other.parameters[name], **tolerance)


def assert_all_differ(students):
    predictions = students.predict_mean(X)
    assert len(np.unique(predictions[:, 0])) == len(predictions)


def test_training_on_the_average_is_training_on_all_responses():
    """Each row repeated k times with one response each has the gradient of the row with their mean."""
    k, seed_design = 4, SeedDesign.independent(3)
    drawn = responses(k, seed_design.responses)
    average = train(weigh(drawn), seed_design)
    repeated = train(weigh(drawn.reshape(3, -1, 1)), seed_design, X=np.repeat(X, k, axis=0))
    assert_equal_students(average, repeated, **ROUNDING)
    assert_equal_students(average, train(weigh(drawn, "multi"), seed_design))
    assert np.abs(average.predict_mean(X) - train(weigh(drawn, "single"), seed_design).predict_mean(X)).max() > 0.05


def test_gaussian_head_on_mean_and_spread_is_the_head_on_all_responses():
    """The mean of k Gaussian losses is the loss at their mean and spread: equal gradients, equal students."""
    k, seed_design = 4, SeedDesign.independent(3)
    drawn = responses(k, seed_design.responses)
    carried = train(weigh(drawn), seed_design, head="responses")
    repeated = train(weigh(drawn.reshape(3, -1, 1)), seed_design, X=np.repeat(X, k, axis=0), head="targets")
    assert_equal_students(carried, repeated, **ROUNDING)
    averaged = train(weigh(drawn), seed_design, head="targets")
    assert (averaged.variances(X).mean(axis=1) < 0.8 * carried.variances(X).mean(axis=1)).all()


def test_everything_frozen_is_one_student_to_the_bit():
    seed_design = SeedDesign.independent(
        4, freeze=["responses", "initialisation", "order", "bootstrap"], bootstrap=True
    )
    students = train(weigh(responses(2, seed_design.responses)), seed_design, recipe=Recipe(steps=40, batch=7))
    for values in students.parameters.values():
        assert (values == values[0]).all()


@pytest.mark.parametrize("free", ["responses", "initialisation", "order", "bootstrap"])
def test_each_source_alone_makes_students_differ(free):
    frozen = {"responses", "initialisation", "order", "bootstrap"} - {free}
    seed_design = SeedDesign.independent(5, freeze=sorted(frozen), bootstrap=True)
    assert_all_differ(train(weigh(responses(2, seed_design.responses)), seed_design, recipe=Recipe(steps=40, batch=7)))


def test_full_batches_know_no_order():
    seed_design = SeedDesign.independent(3, freeze=["responses", "initialisation"])
    students = train(weigh(responses(2, seed_design.responses)), seed_design)
    for values in students.parameters.values():
        assert (values == values[0]).all()


def test_crossed_students_of_equal_levels_are_equal_and_others_are_not():
    seed_design = SeedDesign.crossed({"responses": 2, "initialisation": 3})
    whole = train(weigh(responses(2, seed_design.responses)), seed_design)
    assert_all_differ(whole)
    parts = [seed_design.part(0, 4), seed_design.part(4, 2)]
    with seeds.ledger():  # levels recur from part to part, on purpose
        drawn = [at_levels(Known(MEAN, 0.5), X, 2, p.responses, key=KEY, shared=True) for p in parts]
        joined = Students.joined([train(weigh(d), p) for d, p in zip(drawn, parts, strict=True)])
    assert_equal_students(whole, joined, **ROUNDING)


def test_chunks_of_independent_students_are_the_students_of_one_call():
    whole, parts = SeedDesign.independent(5), [SeedDesign.independent(3), SeedDesign.independent(2, first=3)]
    together = train(weigh(responses(2, whole.responses)), whole)
    joined = Students.joined([train(weigh(responses(2, p.responses)), p) for p in parts])
    assert_equal_students(together, joined, **ROUNDING)
    np.testing.assert_array_equal(joined.kept, np.arange(5))
    with seeds.ledger():
        train(weigh(MEAN[None, :, None]), SeedDesign.independent(3))
        with pytest.raises(SeedReuseError):  # `first` forgotten
            train(weigh(MEAN[None, :, None]), SeedDesign.independent(2))


@pytest.mark.parametrize("drawn", [None, 9, 50])
@pytest.mark.parametrize("batch", [None, 7])
def test_a_bootstrap_student_is_one_trained_on_its_rows(batch, drawn):
    recipe, seed_design = Recipe(steps=40, batch=batch), SeedDesign.independent(3, bootstrap=True)
    labels = responses(2, seed_design.responses)
    students = train(weigh(labels), seed_design, recipe=recipe, drawn=drawn)
    rows = bootstrap_rows(len(X), seed_design.bootstrap, key=KEY, drawn=drawn)
    assert rows.shape == (3, drawn or len(X))
    for s in range(3):
        own = SeedDesign.independent(1, first=s)
        alone = train(weigh(labels[[s]][:, rows[s]]), own, recipe=recipe, X=X[rows[s]])
        one = Students({n: v[[s]] for n, v in students.parameters.items()}, "point", "relu", np.array([-1]))
        assert_equal_students(one, alone, **ROUNDING)


def test_batches_are_those_of_the_order():
    """One step of plain gradient descent on a batch equals the same step on its rows alone."""
    recipe, seed_design = Recipe(steps=1, batch=5, optimiser="sgd", lr=0.1), SeedDesign.independent(2)
    drawn = weigh(responses(2, seed_design.responses))
    students = train(drawn, seed_design, recipe=recipe)
    rows = batch_orders(len(X), 5, 1, seed_design.order, key=KEY)[:, 0]
    for s in range(2):
        own = SeedDesign.independent(1, first=s)
        alone = train(
            weigh(drawn.values[[s]][:, rows[s], None]),
            own,
            X=X[rows[s]],
            recipe=Recipe(steps=1, optimiser="sgd", lr=0.1),
        )
        for name, values in alone.parameters.items():
            np.testing.assert_allclose(students.parameters[name][s], values[0], **ROUNDING)


def test_the_engines_agree():
    seed_design = SeedDesign.independent(3, bootstrap=True)
    drawn, recipe = weigh(responses(2, seed_design.responses)), Recipe(steps=40, batch=7)
    one, other = (train(drawn, seed_design, recipe=recipe, head="responses", engine=e) for e in ("auto", "eager"))
    assert_equal_students(one, other, **ROUNDING)


@pytest.mark.parametrize("engine", ["eager", "fused"])
def test_the_engine_that_was_asked_for_ran(engine):
    """Otherwise the agreement of engines would be that of one with itself."""
    begin = initialisation((3, 8, 1), [0, 1], key=KEY)
    assert fit(begin, X, MEAN[None, :, None], Recipe(steps=2), loss="mse", engine=engine).training.engine == engine


@pytest.mark.parametrize("options", [{}, {"scheme": "kaiming"}, {"perturbation": 0.3}])
def test_students_begin_where_initialisation_says(options):
    """One step of a rate that moves nothing: gradients are below 100, so parameters stay to 1e-10."""
    seed_design = SeedDesign.independent(3, first=2)
    still = Recipe(steps=1, optimiser="sgd", lr=1e-12)
    students = train(weigh(MEAN[None, :, None]), seed_design, recipe=still, **options)
    begin = initialisation((3, 8, 1), seed_design.initialisation, key=KEY, **options)
    for name, values in begin.items():
        np.testing.assert_allclose(students.parameters[name], values, rtol=0, atol=1e-10)


@pytest.mark.parametrize("once", ["initialisation", "order", "bootstrap"])
def test_a_source_that_does_not_recur_is_refused_a_second_time(once):
    """Whether a level may be used again is asked of that source, not of another one."""
    levels, names = np.arange(2), ("responses", "initialisation", "order", "bootstrap")
    recipe, labels = Recipe(steps=2, batch=7), weigh(MEAN[None, :, None])
    every = SeedDesign(levels, levels, levels, levels, recurring=names)
    with seeds.ledger():
        train(labels, every, recipe=recipe)
        train(labels, every, recipe=recipe)
    but_one = SeedDesign(levels, levels, levels, levels, recurring=tuple(n for n in names if n != once))
    with seeds.ledger():
        train(labels, but_one, recipe=recipe)
        with pytest.raises(SeedReuseError, match=once):
            train(labels, but_one, recipe=recipe)


def test_answers_of_students_prompts_and_responses_share_no_noise():
    """Standardised noise averaged over an axis of n has variance 1/n if independent, 1 if it is one draw.

    The mean square of m averages has a relative standard error of √(2/m), m ≥ 24 · 40.
    """
    students = train(
        weigh(responses(2, np.arange(30))), SeedDesign.independent(30), head="targets", recipe=Recipe(steps=5)
    )
    drawn = students.predict(X, 40, key=(*KEY, "noise"))
    noise = (drawn - students.predict_mean(X)[..., None]) / np.sqrt(students.variances(X))[..., None]
    assert abs((noise**2).mean() - 1) < 5 * np.sqrt(2 / noise.size)
    for axis, n in enumerate(noise.shape):
        averages = noise.mean(axis=axis)
        assert abs(n * (averages**2).mean() - 1) < 5 * np.sqrt(2 / averages.size)


def test_torchs_global_state_is_left_alone():
    before = torch.get_rng_state()
    train(weigh(MEAN[None, :, None]), SeedDesign.independent(2))
    assert torch.equal(before, torch.get_rng_state())


def test_targets_of_one_serve_all_students():
    seed_design = SeedDesign.independent(3)
    one = train(weigh(MEAN[None, :, None]), seed_design)
    each = train(weigh(np.broadcast_to(MEAN, (3, 24))[..., None]), seed_design)
    assert_equal_students(one, each, **ROUNDING)
    assert_all_differ(one)


def test_perturbed_students_begin_near_one_another():
    seed_design, labels = SeedDesign.independent(4), weigh(MEAN[None, :, None])
    spread = [
        train(labels, seed_design, perturbation=eps).predict_mean(X).var(axis=0).mean() for eps in (0.0, 0.01, None)
    ]
    assert spread[0] == 0
    assert 0 < spread[1] < 0.1 * spread[2]


def test_t3_what_a_head_reports_is_what_it_was_trained_on():
    """σ_T²/k from averages, σ_T² from responses.

    600 rows and 40 students: the maximum-likelihood variance of 600 rows is low by at most (13 parameters of the mean)/600
    = 2.2 %; its standard error over 40 students is √(2/600/40) = 0.9 %. Allowed: 2.2 % + 4 · 0.9 % = 6 %.
    """
    rows, k, noise_var = 600, 4, 0.5
    plain, seed_design = np.linspace(-1, 1, rows)[:, None], SeedDesign.independent(40)
    network = {"hidden": (4,), "activation": "tanh", "recipe": Recipe(steps=600, lr=0.02), "dtype": "float32"}
    drawn = at_levels(Known(plain[:, 0], noise_var), plain, k, seed_design.responses, key=(*KEY, "T3"))
    for head, expected in (("point", 0.0), ("targets", noise_var / k), ("responses", noise_var)):
        students = train(weigh(drawn), seed_design, X=plain, head=head, **network)
        assert abs(students.variances(plain).mean() - expected) <= 0.06 * expected
        answers = students.predict(plain[::30], 200, key=(*KEY, "answers", head))
        assert answers.shape == (40, 20, 200)
        own = students.variances(plain[::30])
        np.testing.assert_allclose(
            answers.var(axis=2, ddof=1), own, rtol=0.5, atol=1e-25
        )  # 5 standard errors, √(2/199)·5
        np.testing.assert_allclose(
            answers.mean(axis=2), students.predict_mean(plain[::30]), atol=5.5 * np.sqrt(own.max() / 200)
        )


def test_diverged_students_are_an_error_or_are_counted():
    values = np.repeat(MEAN[None], 4, axis=0)
    values[1] *= 1e30  # squares beyond float32
    values[3, 5] = np.inf
    targets = NumberTargets(values, values[..., None], np.ones(()), "average")
    seed_design = SeedDesign.independent(4)
    with pytest.raises(DivergedError, match="1.*3"):
        train(targets, seed_design, dtype="float32")
    with pytest.warns(UqkdWarning, match="2 of 4 students are kept; the others diverged"):
        kept = train(targets, seed_design, dtype="float32", exclude_failed=True)
    assert kept.predict_mean(X).shape == (2, 24)
    np.testing.assert_array_equal(kept.kept, [0, 2])
    np.testing.assert_array_equal(kept.failed_at >= 0, [False, True, False, True])
    healthy = SeedDesign.independent(1, first=2)
    alone = train(weigh(MEAN[None, :, None]), healthy, dtype="float32")
    np.testing.assert_allclose(kept.predict_mean(X)[1], alone.predict_mean(X)[0], atol=1e-5)
    broken = NumberTargets(values[[1, 3]], values[[1, 3], :, None], np.ones(()), "average")
    with pytest.raises(DivergedError):  # nobody is left
        train(broken, SeedDesign.independent(2), dtype="float32", exclude_failed=True)


def test_bad_calls_are_refused():
    seed_design, labels = SeedDesign.independent(3), weigh(MEAN[None, :, None])
    with pytest.raises(OptionError, match="did you mean 'targets'"):
        train(labels, seed_design, head="target")
    with pytest.raises(ShapeError, match="2 students and 24 prompts, but a seed design of 3"):
        train(weigh(np.zeros((2, 24, 1))), seed_design)
    with pytest.raises(ShapeError, match="X of 20 rows"):
        train(labels, seed_design, X=X[:20])
    with pytest.raises(OptionError, match="drawn=5 is the size of a bootstrap"):
        train(labels, seed_design, drawn=5)
    students = train(labels, seed_design)
    with pytest.raises(OptionError, match="regressions and have no probabilities"):
        students.predict_proba(X)
    with pytest.raises(OptionError, match="draws >= 1"):
        students.predict(X, 0, key=KEY)
    gaussian = train(labels, seed_design, head="targets")
    with pytest.raises(OptionError, match="one kind"):
        Students.joined([students, gaussian])
