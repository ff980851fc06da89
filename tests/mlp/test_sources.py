"""Levels and sources: what students share, they share to the bit; what they do not, is independent."""

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import OptionError, SeedReuseError
from uqkd.estimators import variance_components
from uqkd.mlp import Answering, SeedDesign, batch_orders, bootstrap_rows, initialisation
from uqkd.mlp.network import parameter_shapes
from uqkd.mlp.teacher import ClassAnswers, GaussianAnswers

KEY = ("test", "sources")
LEVELS = np.array([4, 0, 4, 7])
SIZES = (13, 16, 1)


class Known(Answering):
    """A teacher whose answers are known."""

    def __init__(self, answers):
        self.answers = answers

    def at(self, X):
        return self.answers


def at_levels(teacher, X, k, levels, *, key, shared=False):
    """Responses of students at these levels of the responses."""
    levels = np.asarray(levels)
    design = SeedDesign(levels, levels, levels, recurring=("responses",) if shared else ())
    return teacher.respond(X, k, students=design, key=key)


GAUSSIAN = Known(GaussianAnswers(np.array([0.0, 10.0, -5.0]), 4.0))
LABELS = Known(ClassAnswers(np.array([[0.2, 0.8, 0.0], [0.1, 0.2, 0.7]])))

DRAWS = {
    "responses": lambda levels, **o: at_levels(GAUSSIAN, None, 6, levels, key=KEY, **o),
    "labels": lambda levels, **o: at_levels(LABELS, None, 40, levels, key=KEY, **o),
    "initialisation": lambda levels, **o: initialisation(SIZES, levels, key=KEY, **o)["0.weight"],
    "kaiming": lambda levels, **o: initialisation(SIZES, levels, key=KEY, scheme="kaiming", **o)["2.weight"],
    "perturbed": lambda levels, **o: initialisation(SIZES, levels, key=KEY, perturbation=0.1, **o)["2.bias"],
    "order": lambda levels, **o: batch_orders(30, 8, 9, levels, key=KEY, **o),
    "bootstrap": lambda levels, **o: bootstrap_rows(30, levels, key=KEY, **o),
}


@pytest.mark.parametrize("name", DRAWS)
def test_equal_levels_are_equal_bits_and_other_levels_are_not(name):
    drawn = DRAWS[name](LEVELS)
    np.testing.assert_array_equal(drawn[0], drawn[2])
    for one, other in ((0, 1), (0, 3), (1, 3)):
        assert not np.array_equal(drawn[one], drawn[other])
    np.testing.assert_array_equal(DRAWS[name]([7])[0], drawn[3])  # whoever else is drawn beside it


@pytest.mark.parametrize("name", DRAWS)
def test_a_level_drawn_twice_is_a_mistake_unless_it_recurs_on_purpose(name):
    with seeds.ledger():
        DRAWS[name]([0, 1])
        DRAWS[name]([2])
        DRAWS[name]([1], shared=True)
        with pytest.raises(SeedReuseError, match=", 1"):
            DRAWS[name]([1, 3])


@pytest.mark.parametrize("name", DRAWS)
def test_students_keep_their_order_and_far_levels_are_levels_of_their_own(name):
    """Levels that differ need not be sorted: student s gets the draw of level s, not the s-th smallest level's."""
    apart = [7, 1_007, 0, 2**40 + 7]
    drawn = DRAWS[name](apart)
    for student, level in enumerate(apart):
        np.testing.assert_array_equal(drawn[student], DRAWS[name]([level])[0])
    assert len({one.tobytes() for one in drawn}) == len(apart)


def test_sources_of_one_key_share_no_stream():
    """Students are named by one key: the start of level 3 must not be made of the numbers of response sample 3."""
    with seeds.ledger():
        for name in ("responses", "initialisation", "order", "bootstrap"):
            DRAWS[name]([3])
        initialisation(SIZES, [4], key=KEY, perturbation=0.1)
    common = initialisation(SIZES, [0], key=KEY, perturbation=0.0)["0.weight"][0]
    for level in range(5):  # a common network that is also some level's draw would lean towards that student
        assert not np.array_equal(common, initialisation(SIZES, [level], key=KEY)["0.weight"][0])


@pytest.mark.parametrize("teacher", [GAUSSIAN, LABELS])
def test_samples_are_nested_in_k(teacher):
    large = at_levels(teacher, None, 50, LEVELS, key=KEY)
    for k in (1, 2, 13):
        np.testing.assert_array_equal(at_levels(teacher, None, k, LEVELS, key=KEY), large[:, :, :k])


def test_responses_have_the_teachers_mean_and_variance():
    """12,000 per prompt: 5 standard errors of a mean are .09, of a variance (4·√(2/n)) .26."""
    responses = at_levels(GAUSSIAN, None, 60, np.arange(200), key=KEY)
    assert responses.shape == (200, 3, 60)
    flat = responses.transpose(1, 0, 2).reshape(3, -1)
    np.testing.assert_allclose(flat.mean(axis=1), [0, 10, -5], atol=0.09)
    np.testing.assert_allclose(flat.var(axis=1), 4.0, atol=0.26)
    correlation = np.corrcoef(flat)[np.triu_indices(3, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(12_000)  # prompts are independent
    between = responses.mean(axis=2).var(axis=0, ddof=1)
    np.testing.assert_allclose(between, 4.0 / 60, rtol=0.5)  # 5 standard errors of a variance over 200: √(2/199)·5


def test_labels_have_the_teachers_distribution():
    labels = at_levels(LABELS, None, 50, np.arange(200), key=KEY)
    for prompt, p in enumerate(LABELS.answers.probabilities):
        seen = np.bincount(labels[:, prompt].ravel(), minlength=3) / 10_000
        np.testing.assert_allclose(seen, p, atol=5 * np.sqrt(0.25 / 10_000))
        assert seen[2] == 0 or p[2] > 0


def test_schemes_have_their_variances():
    """3,328 weights × 60 levels and more: 5 standard errors of a variance are below 2 %."""
    for scheme, weight_var in (("default", 1 / 3), ("kaiming", 2.0)):
        begin = initialisation((13, 256, 3), np.arange(60), key=KEY, scheme=scheme)
        for layer, fan_in in (("0", 13), ("2", 256)):
            weights = begin[f"{layer}.weight"]
            assert weights.shape == (60, *parameter_shapes((13, 256, 3))[f"{layer}.weight"])
            np.testing.assert_allclose(weights.var(), weight_var / fan_in, rtol=0.02)
            assert abs(weights.mean()) < 5 * np.sqrt(weight_var / fan_in / weights.size)
        if scheme == "default":
            for name, fan_in in (("0.weight", 13), ("0.bias", 13), ("2.weight", 256), ("2.bias", 256)):
                largest = np.abs(begin[name]).max() * np.sqrt(fan_in)
                assert 0.9 < largest <= 1.0  # uniform to the edge; 180 values at least
        else:
            assert not begin["0.bias"].any()
            assert not begin["2.bias"].any()


def test_perturbed_beginnings_lie_around_one_draw():
    none, small, large = (
        initialisation(SIZES, LEVELS, key=KEY, perturbation=eps)["0.weight"] for eps in (0.0, 0.1, 0.2)
    )
    assert (none == none[0]).all()
    np.testing.assert_allclose(large - none, 2 * (small - none), rtol=1e-10, atol=1e-15)  # one draw, scaled
    many = initialisation((13, 256, 1), np.arange(30), key=KEY, perturbation=0.1)["0.weight"]
    centre = initialisation((13, 256, 1), [0], key=KEY, perturbation=0.0)["0.weight"]
    relative = many / centre - 1.0
    np.testing.assert_allclose(relative.std(), 0.1, rtol=0.02)  # 99,840 values: 5 standard errors are 1.1 %
    assert abs(relative.mean()) < 5 * 0.1 / np.sqrt(relative.size)


@pytest.mark.parametrize(("rows", "batch", "steps"), [(30, 8, 9), (30, 30, 3), (7, 2, 7), (5, 5, 1), (6, 1, 12)])
def test_orders_take_every_row_equally_often(rows, batch, steps):
    orders = batch_orders(rows, batch, steps, [0, 1], key=KEY)
    assert orders.shape == (2, steps, batch)
    assert orders.dtype == np.int32
    for order in orders:
        counts = np.bincount(order.ravel(), minlength=rows)
        assert counts.max() - counts.min() <= 1
        flat = order.ravel()
        for epoch in range(len(flat) // rows):
            assert sorted(flat[epoch * rows : (epoch + 1) * rows]) == list(range(rows))
        if len(flat) >= 2 * rows > 10:
            assert not np.array_equal(flat[:rows], flat[rows : 2 * rows])  # shuffled anew


def test_bootstrap_draws_with_replacement_all_rows_alike():
    """400 resamples of 50: a row is drawn 400 times, 5 standard errors are 100; a share of (1 − 1/50)⁵⁰ is left out."""
    drawn = bootstrap_rows(50, np.arange(400), key=KEY)
    assert np.abs(np.bincount(drawn.ravel(), minlength=50) - 400).max() < 100
    left_out = np.mean([1 - len(np.unique(rows)) / 50 for rows in drawn])
    assert abs(left_out - (1 - 1 / 50) ** 50) < 0.02  # its standard error is .002


def test_independent_and_frozen_levels():
    seed_design = SeedDesign.independent(3, first=5, freeze=["order", "initialisation"], bootstrap=True)
    np.testing.assert_array_equal(seed_design.responses, [5, 6, 7])
    np.testing.assert_array_equal(seed_design.bootstrap, [5, 6, 7])
    np.testing.assert_array_equal(seed_design.order, [0, 0, 0])
    np.testing.assert_array_equal(seed_design.initialisation, [0, 0, 0])
    assert [seed_design.recurs(name) for name in ("responses", "initialisation", "order")] == [False, True, True]
    assert SeedDesign.independent(3).bootstrap is None
    assert SeedDesign.independent(2, freeze="order").recurring == ("order",)


def test_a_crossed_design_is_a_full_factorial():
    seed_design = SeedDesign.crossed({"responses": 3, "initialisation": 2, "bootstrap": 2})
    seen = list(zip(seed_design.responses, seed_design.initialisation, seed_design.bootstrap, strict=True))
    assert seen == [(t, i, b) for t in range(3) for i in range(2) for b in range(2)]
    np.testing.assert_array_equal(seed_design.order, np.zeros(12))
    assert set(seed_design.table()) == {"responses", "initialisation", "bootstrap"}
    part = seed_design.part(4, 5)
    assert list(zip(part.responses, part.initialisation, part.bootstrap, strict=True)) == seen[4:9]


def test_parts_of_a_crossed_design_are_its_rows_in_every_source():
    seed_design = SeedDesign.crossed({"bootstrap": 2, "order": 3, "initialisation": 2, "responses": 2})
    for first, students in ((0, 5), (7, 4), (20, 4)):
        part = seed_design.part(first, students)
        for name in ("responses", "initialisation", "order", "bootstrap"):
            np.testing.assert_array_equal(getattr(part, name), getattr(seed_design, name)[first : first + students])
        assert part.recurring == seed_design.recurring
    assert SeedDesign.independent(4).part(1, 2).bootstrap is None


def test_the_table_of_a_crossed_design_is_what_the_components_need():
    """Values t² + i/10 have no interaction: the residual is 0, the others are variances of the effects."""
    seed_design = SeedDesign.crossed({"responses": 4, "initialisation": 3})
    value = seed_design.responses**2 + seed_design.initialisation / 10
    parts = variance_components({**seed_design.table(), "value": value}, list(seed_design.table()))
    np.testing.assert_allclose(parts.of("responses"), np.var([0, 1, 4, 9], ddof=1), rtol=1e-12)
    np.testing.assert_allclose(parts.of("initialisation"), np.var([0, 0.1, 0.2], ddof=1), rtol=1e-12)
    assert abs(parts.of("residual")) < 1e-12


def test_bad_sources_are_refused():
    with pytest.raises(OptionError, match="did you mean 'initialisation'"):
        SeedDesign.independent(3, freeze=["initialization"])
    with pytest.raises(OptionError, match="did you mean 'responses'"):
        SeedDesign.crossed({"response": 3})
    with pytest.raises(OptionError, match="at least one level of 'order'; got 0"):
        SeedDesign.crossed({"order": 0})
    with pytest.raises(OptionError, match="students >= 1"):
        SeedDesign.independent(0)
    with pytest.raises(OptionError, match="k=0"):
        at_levels(GAUSSIAN, None, 0, [0], key=KEY)
    with pytest.raises(OptionError, match="batch=8, rows=7"):
        batch_orders(7, 8, 2, [0], key=KEY)
    with pytest.raises(OptionError, match="perturbation"):
        initialisation(SIZES, [0], key=KEY, perturbation=-0.1)
    with pytest.raises(OptionError, match="did you mean 'kaiming'"):
        initialisation(SIZES, [0], key=KEY, scheme="kaimin")
    for levels in ([0.5], [], [[0]]):
        with pytest.raises(OptionError, match="levels must be whole numbers"):
            bootstrap_rows(5, levels, key=KEY)
    with pytest.raises(OptionError, match="rows >= 1"):
        bootstrap_rows(0, [0], key=KEY)
