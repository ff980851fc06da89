"""S classifiers trained together: keys, levels of seed_design, chunks, rows each may see, divergence, features, answers."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
import transformers
from scipy import stats
from torch import nn

from uqkd import seeds
from uqkd.classify import Distillation, distill, perceptron, pretrained, residual, weigh
from uqkd.classify import classifiers as module
from uqkd.classify.classifiers import draw_labels, fit_classifiers, one_hot
from uqkd.errors import DataError, DivergedError, NotFiniteError, OptionError, SeedReuseError, ShapeError, UqkdWarning
from uqkd.stacked import Recipe, SeedDesign, bootstrap_rows, train
from uqkd.stacked.losses import cross_entropy

KEY = ("test", "classifiers")
P, C = 24, 3
X = seeds.generator(*KEY, "X").standard_normal((P, 4))
TARGET = seeds.generator(*KEY, "targets").dirichlet(np.ones(C), P)[None]
RECIPE = Recipe(steps=30, batch=7, optimiser="sgd", lr=0.1)
# 30 steps of gradient descent in single precision, sums in another order: 30 · 6e-8 of values of size 1. Students that
# differ in any source are 1e-3 apart and more.
ROUNDING = {"rtol": 0, "atol": 5e-6}
ALPHA = 1e-5  # false alarms of one test by chance: 1e-3 over a family of a hundred


def network():
    return perceptron(4, C, hidden=(6,))


def fit(seed_design, **options):
    common = {"factory": network, "loss": cross_entropy, "recipe": RECIPE, "key": KEY}
    return fit_classifiers(
        options.pop("X", X), options.pop("targets", TARGET), seed_design=seed_design, **{**common, **options}
    )


def apart(logits):
    """(S, S) largest difference of every two students."""
    return np.abs(logits[:, None] - logits[None]).max(axis=(2, 3))


def all_differ(logits):
    return (apart(logits) + np.eye(len(logits))).min() > 1e-3


# ----------------------------------------------------------------------------------------------------- keys and levels


def test_equal_keys_give_equal_bits_and_other_keys_other_students():
    one, again, other = (fit(SeedDesign.independent(3), key=k).logits(X) for k in (KEY, KEY, (*KEY, 1)))
    np.testing.assert_array_equal(one, again)
    assert all_differ(np.concatenate([one, other]))


def test_students_do_not_depend_on_how_many_are_trained_together(monkeypatch):
    whole = fit(SeedDesign.independent(5)).logits(X)
    parts = [fit(SeedDesign.independent(3)), fit(SeedDesign.independent(2, first=3))]
    np.testing.assert_allclose(np.concatenate([p.logits(X) for p in parts]), whole, **ROUNDING)
    assert all_differ(whole)
    for chunk in (1, 2):
        monkeypatch.setattr(module, "train", functools.partial(train, chunk=chunk))
        np.testing.assert_allclose(fit(SeedDesign.independent(5)).logits(X), whole, **ROUNDING)


@pytest.mark.parametrize("numbers", [1, 40, 100])
def test_answers_do_not_depend_on_blocks_of_rows(monkeypatch, numbers):
    students = fit(SeedDesign.independent(3))
    logits, features = students.logits(X), students.features(X)
    monkeypatch.setattr(module, "BLOCK", numbers)
    np.testing.assert_allclose(students.logits(X), logits, rtol=0, atol=1e-6)  # one pass, values of size 1
    np.testing.assert_allclose(students.features(X), features, rtol=0, atol=1e-6)


SOURCES = ("initialisation", "order", "bootstrap")


def test_everything_frozen_is_one_student_to_the_bit():
    logits = fit(SeedDesign.independent(4, freeze=SOURCES, bootstrap=True)).logits(X)
    np.testing.assert_array_equal(logits, np.broadcast_to(logits[0], logits.shape))


@pytest.mark.parametrize("free", SOURCES)
def test_each_source_alone_makes_students_differ(free):
    frozen = [name for name in SOURCES if name != free]
    assert all_differ(fit(SeedDesign.independent(4, freeze=frozen, bootstrap=True)).logits(X))


def test_a_crossed_design_shares_what_it_says():
    """Full batches know no order: students of one initialisation are one; of two they are two."""
    seed_design = SeedDesign.crossed({"initialisation": 2, "order": 2})
    recipe = Recipe(steps=20, optimiser="sgd", lr=0.1)
    logits = fit(seed_design, recipe=recipe).logits(X)
    np.testing.assert_array_equal(logits[0], logits[1])
    np.testing.assert_array_equal(logits[2], logits[3])
    assert apart(logits)[0, 2] > 1e-3
    assert all_differ(fit(seed_design).logits(X))


def test_a_frozen_initialisation_is_the_one_that_the_stream_gives():
    still = Recipe(steps=1, optimiser="sgd", lr=1e-12)  # gradients are of size 1: nothing moves
    for seed_design, level in (
        (SeedDesign.independent(2, freeze=["initialisation"]), 0),
        (SeedDesign.independent(2, first=5), 6),
    ):
        seen = fit(seed_design, recipe=still).alone(1)
        with seeds.torch_stream(*KEY, "initialisation", level):
            begun = network()
        for one, other in zip(seen.parameters(), begun.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("batch", [None, 7])
def test_a_bootstrap_student_is_one_trained_on_its_rows(batch):
    recipe, seed_design = (
        Recipe(steps=30, batch=batch, optimiser="sgd", lr=0.1),
        SeedDesign.independent(3, bootstrap=True),
    )
    students = fit(seed_design, recipe=recipe).logits(X)
    rows = bootstrap_rows(P, seed_design.bootstrap, key=KEY)
    for s in range(3):
        alone = fit(SeedDesign.independent(1, first=s), recipe=recipe, X=X[rows[s]], targets=TARGET[:, rows[s]])
        np.testing.assert_allclose(alone.logits(X)[0], students[s], **ROUNDING)
    assert all_differ(students)


def test_a_level_that_is_used_twice_by_mistake_is_named():
    with seeds.ledger():
        fit(SeedDesign.independent(2))
        with pytest.raises(SeedReuseError, match="initialisation"):
            fit(SeedDesign.independent(2))
    with seeds.ledger():
        for _ in range(2):
            fit(SeedDesign.independent(2, freeze=["initialisation", "order"]))
            fit(SeedDesign.crossed({"initialisation": 2, "order": 2}))


def test_torchs_global_state_is_left_alone():
    before = torch.get_rng_state()
    students = fit(SeedDesign.independent(2))
    students.predict(X, 3, key=(*KEY, "state"))
    assert torch.equal(before, torch.get_rng_state())


# ------------------------------------------------------------------------------------------- the rows that each may see


def orders_of(monkeypatch, **options):
    """What `train` was given as orders."""
    seen = {}

    def spy(*arguments, **given):
        seen.update(given)
        return train(*arguments, **given)

    monkeypatch.setattr(module, "train", spy)
    fit(**options)
    return np.asarray(seen["orders"])


def test_batches_are_drawn_from_the_rows_that_are_allowed_equally_often(monkeypatch):
    allowed = np.arange(P) % 3 != np.arange(3)[:, None]
    orders = orders_of(
        monkeypatch, seed_design=SeedDesign.independent(3), allowed=allowed, recipe=Recipe(steps=40, batch=5)
    )
    assert orders.shape == (3, 40, 5)
    for s in range(3):
        counts = np.bincount(orders[s].ravel(), minlength=P)
        assert (counts[~allowed[s]] == 0).all()
        assert np.ptp(counts[allowed[s]]) <= 1


def test_rows_that_are_not_allowed_have_no_effect():
    allowed = np.arange(P) % 3 != np.arange(3)[:, None]
    before = fit(SeedDesign.independent(3), allowed=allowed)
    changed = np.where((np.arange(P) % 3 == 1)[:, None], X + 3.0, X)  # those that student 1 does not see
    after = fit(SeedDesign.independent(3), allowed=allowed, X=changed)
    differ = [
        not all(
            torch.equal(a, b) for a, b in zip(before.alone(s).parameters(), after.alone(s).parameters(), strict=True)
        )
        for s in range(3)
    ]
    assert differ == [True, False, True]


def test_rows_must_fit():
    with pytest.raises(ShapeError, match=r"allowed must be \(S=2, P=24\) bool; got \(2, 5\)"):
        fit(SeedDesign.independent(2), allowed=np.ones((2, 5), dtype=bool))
    uneven = np.arange(P) < np.array([[10], [12]])
    with pytest.raises(OptionError, match="different numbers of rows need a recipe with a batch size"):
        fit(SeedDesign.independent(2), allowed=uneven, recipe=Recipe(steps=2))
    with pytest.raises(OptionError, match="batch=7, rows=5"):
        fit(SeedDesign.independent(1), allowed=np.arange(P)[None] < 5)


# ---------------------------------------------------------------------------------------------------------- divergence


def poisoned(students=4, which=(1,)):
    targets = np.repeat(TARGET, students, axis=0)
    targets[list(which), 5, 0] = np.inf
    return targets


def test_one_that_diverges_leaves_the_others_as_they_are_to_the_bit():
    healthy = fit(SeedDesign.independent(4), targets=np.repeat(TARGET, 4, axis=0)).logits(X)
    with pytest.raises(
        DivergedError, match=r"1 of 4 students diverged: student 1 at step \d+\. Lower the learning rate"
    ):
        fit(SeedDesign.independent(4), targets=poisoned())
    with pytest.warns(UqkdWarning, match="3 of 4 students are kept; the others diverged"):
        students = fit(SeedDesign.independent(4), targets=poisoned(), exclude_failed=True)
    np.testing.assert_array_equal(students.kept, [0, 2, 3])
    np.testing.assert_array_equal(students.failed_at >= 0, [False, True, False, False])
    np.testing.assert_array_equal(students.logits(X), healthy[[0, 2, 3]])
    assert students.predict_proba(X).shape == students.predict(X, C, key=KEY).shape == (3, P, C)
    assert students.features(X).shape == (3, P, 6)
    alone = students.alone(1)(torch.as_tensor(X, dtype=torch.float32)).detach()
    np.testing.assert_allclose(
        alone, healthy[2], rtol=0, atol=1e-6
    )  # number 1 of those kept; one pass, values of size 1


def test_nobody_left_is_an_error_whatever_is_said():
    said = r"2 of 2 students diverged: student 0 at step .*, student 1 at step \d+. Lower the learning rate or clip.$"
    with pytest.raises(DivergedError, match=said):  # what was said already is not offered again
        fit(SeedDesign.independent(2), targets=poisoned(2, (0, 1)), exclude_failed=True)


# ------------------------------------------------------------------------------------------------------------ features


def test_features_are_what_the_last_linear_layer_gets():
    students = fit(SeedDesign.independent(3))
    features = students.features(X)
    for s in range(3):
        _, first, _, last = students.alone(s)
        by_hand = np.maximum(X @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0.0)
        np.testing.assert_allclose(features[s], by_hand, rtol=0, atol=1e-5)  # single precision, sums of 4
        logits = features[s] @ last.weight.detach().numpy().T + last.bias.detach().numpy()
        np.testing.assert_allclose(logits, students.logits(X)[s], rtol=0, atol=1e-5)
        assert np.abs(features[s] - features[s - 1]).max() > 1e-2


class HeadFirst(nn.Module):
    """Built in another order than it runs in."""

    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Linear(6, C), nn.Linear(4, 6)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


def test_the_last_layer_is_the_last_that_runs_not_the_last_that_was_built():
    students = fit(SeedDesign.independent(2), factory=HeadFirst)
    features = students.features(X)
    assert features.shape == (2, P, 6)
    head = students.alone(1).head
    logits = features[1] @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(logits, students.logits(X)[1], rtol=0, atol=1e-5)
    config = transformers.XLMRobertaConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12
    )
    tokens = seeds.generator(*KEY, "tokens").integers(1, 9, size=(P, 5))
    texts = fit(
        SeedDesign.independent(2), X=tokens, factory=lambda: pretrained(config, C, pad=0), recipe=Recipe(steps=1)
    )
    assert texts.features(tokens).shape == (2, P, 8)


def test_features_need_a_linear_layer_and_leave_no_trace():
    def convolution():
        return nn.Sequential(nn.Conv2d(1, C, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    images = seeds.generator(*KEY, "images").standard_normal((P, 1, 4, 4))
    with pytest.raises(OptionError, match="features are what the last linear layer gets; this architecture has none"):
        fit(SeedDesign.independent(2), X=images, factory=convolution).features(images)
    students = fit(SeedDesign.independent(2))
    students.features(X)
    students.features(X)
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in students.model.modules())


# ------------------------------------------------------------------------------------------------------------- answers


def test_probabilities_are_those_of_the_logits_in_double():
    students = fit(SeedDesign.independent(3))
    z = students.logits(X)
    expected = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(students.predict_proba(X), expected, rtol=1e-13, atol=0)
    np.testing.assert_allclose(students.predict_proba(X).sum(axis=-1), 1.0, rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", [list, torch.as_tensor, np.float32, np.asfortranarray])
def test_rows_may_be_of_any_kind(kind):
    students = fit(SeedDesign.independent(2))
    np.testing.assert_allclose(students.logits(kind(X)), students.logits(X), rtol=0, atol=1e-6)


DRAWS = 4_000
ANSWERS = seeds.generator(*KEY, "answers").dirichlet([0.5, 1.0, 2.0, 1.0], (2, 10))


def chi_square(drawn, probabilities):
    """p-value of the counts of every student and prompt; cells are 2 · 10 · 4, less one per row."""
    counts = np.stack([(drawn == c).sum(axis=-1) for c in range(probabilities.shape[-1])], axis=-1)
    expected = probabilities * drawn.shape[-1]
    seen = expected > 5  # below that chi-square is no approximation
    statistic = (((counts - expected) ** 2 / np.where(seen, expected, 1.0)) * seen).sum()
    return stats.chi2.sf(statistic, (seen.sum(-1) - seen.all(-1)).sum())


def test_labels_are_drawn_with_their_probabilities():
    assert chi_square(draw_labels(ANSWERS, DRAWS, key=(*KEY, "draw")), ANSWERS) > ALPHA


@pytest.mark.parametrize(
    "wrong",
    [np.sqrt(ANSWERS) / np.sqrt(ANSWERS).sum(-1, keepdims=True), ANSWERS[..., ::-1], np.roll(ANSWERS, 1, -1), ANSWERS[::-1],
     0.95 * ANSWERS + 0.05 / 4],
    ids=["other temperature", "classes backwards", "classes off by one", "students swapped", "five per cent at random"],
)  # fmt: skip
def test_labels_drawn_otherwise_are_seen(wrong):
    assert chi_square(draw_labels(np.ascontiguousarray(wrong), DRAWS, key=(*KEY, "wrong draw")), ANSWERS) < ALPHA


def test_students_prompts_and_responses_are_drawn_independently():
    """Two independent draws from one distribution agree with probability Σp²; a draw that is shared always agrees.

    n pairs: the share that agrees is within z·½/√n of it, z = 4.42 for ALPHA.
    """
    p = np.broadcast_to([0.5, 0.3, 0.2], (2, 20, 3))
    drawn = draw_labels(p, 400, key=(*KEY, "independent"))
    for one, other in (
        (drawn[0], drawn[1]), (drawn[:, ::2], drawn[:, 1::2]), (drawn[..., ::2], drawn[..., 1::2]),
    ):  # fmt: skip
        assert abs((one == other).mean() - 0.38) < stats.norm.isf(ALPHA / 2) * 0.5 / np.sqrt(one.size)


def test_classes_of_probability_zero_are_never_drawn_and_certain_ones_always():
    p = np.array([[[0.0, 0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]]])
    drawn = draw_labels(p, 5_000, key=(*KEY, "zero"))
    assert set(np.unique(drawn[0, 0])) == {1, 3}
    assert set(np.unique(drawn[0, 1])) == {2}


def test_the_first_answers_are_the_same_however_many_follow():
    students = fit(SeedDesign.independent(2))
    few, many = (students.predict(X, r, key=(*KEY, "more")) for r in (3, 8))
    np.testing.assert_array_equal(few, many[..., :3])
    assert (students.predict(X, 8, key=(*KEY, "other")) != many).any()


# ------------------------------------------------------------------------------------------------------ what is asked


def with_nan(*rows):
    broken = X.copy()
    broken[list(rows), 1] = np.nan
    return broken


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (with_nan(3, 9), NotFiniteError, "not finite, as float32, in 2 of 24 rows; the first is row 3"),
        (np.where(np.arange(P)[:, None] == 7, 1e300, X), NotFiniteError, "in 1 of 24 rows; the first is row 7"),
        (X[:0], ShapeError, r"X must be \(P, ...\), at least one row; got \(0, 4\)"),
        (X[:, :0], ShapeError, r"got \(24, 0\)"),
        (X[:, 0], ShapeError, r"got \(24,\)"),
        ((9 * X).astype(np.int64), DataError, "X holds torch.int64, but this network takes fractions"),
        (X.astype(str), DataError, "X must hold numbers; got dtype <U"),
    ],
)
def test_rows_that_are_none_are_refused_in_training_and_in_asking(rows, error, message):
    students = fit(SeedDesign.independent(2))
    for ask in (students.logits, students.features, lambda r: fit(SeedDesign.independent(2), X=r)):
        with pytest.raises(error, match=message):
            ask(rows)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(9, 4), nn.Linear(4, C)

    def forward(self, rows):
        return self.head(self.words(rows).mean(1))


def test_rows_that_do_not_fit_the_network_are_refused_in_one_line():
    students, texts = fit(SeedDesign.independent(2)), seeds.generator(*KEY, "words").integers(9, size=(P, 5))
    readers = fit(SeedDesign.independent(2), X=texts, factory=Words)
    outside = np.where(np.arange(P)[:, None] == P - 1, 9, texts)  # in the last row only
    for ask, rows, message in (
        (students.logits, X[:, :3], r"does not take rows of shape \(3,\), torch.float32"),
        (students.features, X[:, :3], r"does not take rows of shape \(3,\)"),
        (lambda rows: fit(SeedDesign.independent(2), X=rows), X[:, :3], r"does not take rows of shape \(3,\)"),
        (readers.logits, outside, r"rows of shape \(5,\), torch.int64 from 0 to 9 .*token ids within its vocabulary"),
        (readers.logits, outside - 1, "torch.int64 from -1 to 8"),
        (lambda rows: fit(SeedDesign.independent(2), X=rows, factory=Words), outside, "torch.int64 from 0 to 9"),
    ):
        with pytest.raises(ShapeError, match=message) as caught:
            ask(rows)
        assert "\n" not in str(caught.value)


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"targets for X must be \(S=2, N=24, ...\)"):
        fit(SeedDesign.independent(2), targets=TARGET[:, :5])
    with pytest.raises(ShapeError, match=r"outputs \(\d, 7, 3\) and targets \(\d, 7, 2\)"):
        fit(SeedDesign.independent(2), targets=TARGET[..., :2])
    with pytest.raises(ShapeError, match="targets for X"):
        fit(SeedDesign.independent(2), targets=np.repeat(TARGET, 3, axis=0))


def test_answers_need_at_least_one():
    students = fit(SeedDesign.independent(2))
    for responses in (0, 2.5, True, "3"):
        with pytest.raises(OptionError, match=f"draws >= 1; got {responses!r}"):
            students.predict(X, responses, key=KEY)
    with pytest.raises(OptionError, match=r"key must be a tuple of names, such as key=\('fkey',\); got 'fkey'"):
        students.predict(X, 2, key="fkey")
    for s in (2, 9, -3, 0.5, "a"):
        with pytest.raises(OptionError, match=f"the number of one of the 2 kept, from 0; got {s!r}"):
            students.alone(s)
    students.alone(np.int64(1))


def test_labels_as_distributions():
    np.testing.assert_array_equal(one_hot([2, 0], 2, 3), [[[0, 0, 1], [1, 0, 0]]])
    with pytest.raises(OptionError, match="classes >= 2; got classes=1"):
        one_hot([0], 1, 1)
    with pytest.raises(DataError, match="labels must lie in 0 to 2; got 3 at index 1"):
        one_hot([0, 3], 2, 3)


def test_a_network_with_statistics_is_asked_with_those_it_has():
    """Batch norm in evaluation: the answer to a row does not depend on the rows beside it."""
    images = seeds.generator(*KEY, "residual").standard_normal((P, 1, 8, 8))
    students = distill(
        images, weigh(TARGET[0], "soft"), factory=lambda: residual(1, C, depth=8, width=4),
        objective=Distillation(1.0, 1.0), recipe=Recipe(steps=4, batch=8), seed_design=SeedDesign.independent(2), key=KEY,
    )  # fmt: skip
    whole = students.logits(images)
    np.testing.assert_allclose(np.concatenate([students.logits(images[:1]), students.logits(images[1:])], axis=1), whole,
                               rtol=0, atol=1e-5)  # fmt: skip
    students.model.train()
    np.testing.assert_array_equal(students.logits(images), whole)
