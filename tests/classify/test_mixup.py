"""Mixup: pairs and shares as they should be drawn, rows and labels mixed alike, a teacher asked about what comes of them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from uqkd import seeds
from uqkd.classify import Mixing, Teacher, mixed_rows
from uqkd.classify.mixup import MixedBatches, Pairs, mix
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.stacked import Stacked

KEY = ("test", "mixup")
Z = 4.417  # standard errors: a false alarm of 1e-5, that is 1e-3 over a family of a hundred
S, B, D, C = 3, 8, 4, 5


def draw(*key):
    return seeds.generator(*KEY, *key, shared=True)


# --------------------------------------------------------------------------------------------------------------- pairs


def test_mix_by_hand():
    X = np.array([[[1.0, 2.0]], [[5.0, 0.0]], [[0.0, 8.0]]])
    pairs = Pairs(np.array([0.25, 1.0, 0.5]), np.array([1, 1, 0]))
    np.testing.assert_array_equal(mix(X, pairs), [[[4.0, 0.5]], [[5.0, 0.0]], [[0.5, 5.0]]])


def beta_moments(alpha):
    """Mean, variance and fourth central moment of Beta(alpha, alpha)."""
    mean, variance, _, excess = stats.beta.stats(alpha, alpha, moments="mvsk")
    return float(mean), float(variance), float((excess + 3.0) * variance**2)


def apart(share, alpha):
    """Standard errors by which mean and variance of independent shares are off those of Beta(alpha, alpha)."""
    mean, variance, fourth = beta_moments(alpha)
    n = share.size
    return (
        abs(share.mean() - mean) / np.sqrt(variance / n),
        abs(((share - mean) ** 2).mean() - variance) / np.sqrt((fourth - variance**2) / n),
    )


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_shares_have_mean_and_variance_of_their_beta_distribution(alpha, per):
    drawn = Mixing(alpha=alpha, per=per).draw(2_000 if per == "sample" else 40_000, 20, draw("beta", alpha, per)).share
    independent = drawn if per == "sample" else drawn[:, 0]
    assert max(apart(independent, alpha)) < Z
    assert apart(independent, 2 * alpha)[1] > Z  # another alpha is seen
    assert apart(np.maximum(independent, 1 - independent), alpha)[0] > Z  # and λ folded to the larger share


def test_a_share_for_every_row_or_one_for_the_batch():
    sample, batch = (Mixing(per=per).draw(50, 20, draw("per", per)).share for per in ("sample", "batch"))
    assert (batch == batch[:, :1]).all()
    assert len(np.unique(batch)) == 50
    assert len(np.unique(sample)) == 50 * 20


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_partners_are_a_permutation_that_is_drawn_at_random(per):
    """Each partner is used once; every ordered pair (i, j) is as likely: chi-square over 5 · 5 cells, 16 free."""
    partner = Mixing(per=per).draw(4_000, 5, draw("partners", per)).partner
    np.testing.assert_array_equal(np.sort(partner, axis=1), np.broadcast_to(np.arange(5), partner.shape))
    counts = np.stack([(partner == j).sum(axis=0) for j in range(5)])
    # of a permutation matrix, (n − 1)/n · Σ (count − mean)²/mean has (n − 1)² degrees of freedom
    statistic = 0.8 * ((counts - 800.0) ** 2 / 800.0).sum()
    assert stats.chi2.sf(statistic, 16) > 1e-5
    drawn_with_replacement = draw("replaced").integers(5, size=(4_000, 5))
    assert (np.sort(drawn_with_replacement, axis=1) != np.arange(5)).any()
    shifted = np.stack([np.roll(np.arange(5), k) for k in draw("shift").integers(1, 5, size=4_000)])  # never itself
    shifted_counts = np.stack([(shifted == j).sum(axis=0) for j in range(5)])
    assert stats.chi2.sf(0.8 * ((shifted_counts - 800.0) ** 2 / 800.0).sum(), 16) < 1e-5


@pytest.mark.parametrize("per", ["sample", "batch"])
@pytest.mark.parametrize("partial", [0.0, 0.3, 1.0])
def test_rows_that_are_not_mixed_stay_as_they_are(partial, per):
    drawn = Mixing(partial=partial, per=per).draw(2_000, 10, draw("partial", partial, per))
    kept = drawn.share == 1.0
    assert (drawn.partner[kept] == np.broadcast_to(np.arange(10), kept.shape)[kept]).all()
    n = kept.size
    assert abs(kept.mean() - (1 - partial)) <= Z * np.sqrt(partial * (1 - partial) / n)
    if per == "sample" and partial == 0.3:
        assert max(apart(drawn.share[~kept], 1.0)) < Z


def test_draws_are_those_of_the_generator():
    one, again = (Mixing().draw(3, 4, draw("again")) for _ in range(2))
    np.testing.assert_array_equal(one.share, again.share)
    np.testing.assert_array_equal(one.partner, again.partner)


# ------------------------------------------------------------------------------------------------------ mixed batches


@pytest.fixture(scope="module")
def linear():
    """A softmax of a linear function: its answer to any row is known in closed form."""
    with seeds.torch_stream(*KEY, "teacher", shared=True):
        teacher = nn.Linear(D, C)
    with torch.no_grad():
        teacher.weight *= 5.0  # logits of size 3
    return teacher


def batches(*key):
    X = torch.as_tensor(draw("rows", *key).standard_normal((S, B, D)), dtype=torch.float32)
    labels = torch.as_tensor(np.eye(C)[draw("labels", *key).integers(C, size=(S, B))], dtype=torch.float32)
    return X, labels


def transform(linear=None, **options):
    teacher = None if linear is None else Stacked.of(linear, 1).eval()
    common = {"mixing": Mixing(), "levels": np.arange(S), "key": KEY, "teacher": teacher}
    return MixedBatches(**{**common, **options})


def shares_of(seen, X):
    """λ and partner of every row, found from the mixed rows alone: mixed = λ x_i + (1 − λ) x_j for exactly one j."""
    share, partner = np.zeros((S, B)), np.zeros((S, B), dtype=int)
    for s, i in np.ndindex(S, B):
        best = np.inf
        for j in (i, *range(B)):  # itself first: a row that is mixed with itself lies on every line through it
            way = (X[s, i] - X[s, j]).double()
            size = float((way**2).sum())
            lam = float(((seen[s, i] - X[s, j]).double() * way).sum()) / size if size else 1.0
            off = float((seen[s, i].double() - lam * X[s, i].double() - (1 - lam) * X[s, j].double()).abs().max())
            if off < best - 1e-6 and -1e-5 <= lam <= 1 + 1e-5:
                best, share[s, i], partner[s, i] = off, lam, j
        assert best < 1e-5
    return share, partner


# mixed rows in single precision: shares found back from them are right to some 1e-6, targets to a few of them
FOUND = 1e-5


def test_rows_and_labels_are_mixed_alike():
    X, labels = batches("labels")
    rows, targets = transform()(0, np.arange(S), X, labels)
    share, partner = shares_of(rows, X)
    own, other = labels.numpy(), np.take_along_axis(labels.numpy(), partner[..., None], axis=1)
    expected = share[..., None] * own + (1 - share[..., None]) * other
    np.testing.assert_allclose(targets, expected, rtol=0, atol=FOUND)
    swapped = (1 - share[..., None]) * own + share[..., None] * other
    assert np.abs(targets.numpy() - swapped).max() > 0.1  # λ and 1 − λ exchanged would show
    np.testing.assert_array_equal(np.sort(partner, axis=1), np.broadcast_to(np.arange(B), (S, B)))


@pytest.mark.parametrize("temperature", [1.0, 2.0, "std"])
@pytest.mark.parametrize("own", [1.0, 3.0])
def test_the_teacher_is_asked_about_the_mixed_rows(linear, temperature, own):
    X, labels = batches("teacher")
    rows, targets = transform(linear, temperature=temperature, teacher_temperature=own)(0, np.arange(S), X, labels)
    plain_rows, mixed_labels = transform()(0, np.arange(S), X, labels)
    assert torch.equal(rows, plain_rows)
    assert torch.equal(targets[..., C:], mixed_labels)
    with torch.no_grad():
        z = linear(rows).double() / own
    z = z / (z.std(-1, keepdim=True) if temperature == "std" else temperature)
    np.testing.assert_allclose(targets[..., :C], z.softmax(-1), rtol=0, atol=1e-6)  # single precision
    share, partner = (torch.as_tensor(v) for v in shares_of(rows, X))
    with torch.no_grad():
        unmixed = (linear(X).double() / own).softmax(-1)
    other = torch.take_along_dim(unmixed, partner[..., None], dim=1)
    for wrong in (unmixed, share[..., None] * unmixed + (1 - share[..., None]) * other):  # of rows that it knows
        assert (targets[..., :C] - wrong).abs().max() > 1e-2


def test_a_teacher_with_statistics_answers_in_evaluation():
    """The answer to a mixed row does not depend on the rows beside it."""
    module = nn.Sequential(nn.Linear(D, 6), nn.BatchNorm1d(6), nn.Linear(6, C))
    teacher = Teacher.of(module)
    X, labels = batches("statistics")
    rows, targets = transform(teacher=teacher.model)(0, np.arange(S), X, labels)
    np.testing.assert_allclose(
        targets[..., :C], module.eval()(rows.flatten(0, 1)).detach().softmax(-1).unflatten(0, (S, B)), rtol=0, atol=1e-6
    )


def test_the_floor_goes_from_the_teacher_to_the_mixed_labels(linear):
    X, labels = batches("floor")
    answers = {}
    for floor in (0.0, 0.2, 1.0):
        rows, targets = transform(linear, floor=floor)(0, np.arange(S), X, labels)
        answers[floor] = targets[..., :C].double().numpy()
    mixed = targets[..., C:].double().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(answers[0.0], linear(rows).softmax(-1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(answers[1.0], mixed, rtol=0, atol=1e-6)
    assert (answers[0.2] >= 0.2 * mixed - 1e-6).all()
    assert np.abs(answers[0.2] - 0.8 * answers[0.0] - 0.2 * mixed).max() > 1e-3  # a projection, not a blend
    free = (answers[0.0] >= 0.2 * mixed).all(axis=-1)
    np.testing.assert_allclose(answers[0.2][free], answers[0.0][free], rtol=0, atol=1e-6)
    assert 0 < free.sum() < free.size


def test_students_mix_pairs_of_their_own_unless_their_levels_are_one():
    X, labels = batches("levels")
    same = X[:1].expand(S, B, D).contiguous(), labels[:1].expand(S, B, C).contiguous()
    own, _ = transform()(0, np.arange(S), *same)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (own[one] - own[other]).abs().max() > 0.1
    alike, _ = transform(levels=np.array([4, 4, 5]))(0, np.arange(S), *same)
    assert torch.equal(alike[0], alike[1])
    assert (alike[0] - alike[2]).abs().max() > 0.1


def test_steps_and_keys_mix_other_pairs():
    X, labels = batches("steps")
    mixing = transform()
    first = mixing(0, np.arange(S), X, labels)[0]
    for other in (mixing(1, np.arange(S), X, labels)[0], mixing(64, np.arange(S), X, labels)[0],
                  transform(key=(*KEY, 1))(0, np.arange(S), X, labels)[0]):  # fmt: skip
        assert (first - other).abs().max() > 0.1
    assert torch.equal(first, mixing(0, np.arange(S), X, labels)[0])


def test_nothing_depends_on_chunks_or_on_the_order_in_which_steps_are_asked():
    X, labels = batches("order")
    forwards, backwards = transform(), transform()
    steps = [0, 5, 63, 64, 200, 1_000]
    seen = {t: forwards(t, np.arange(S), X, labels) for t in steps}
    for t in reversed(steps):
        for s in (2, 0, 1):
            rows, targets = backwards(t, np.array([s]), X[s : s + 1], labels[s : s + 1])
            assert torch.equal(rows[0], seen[t][0][s])
            assert torch.equal(targets[0], seen[t][1][s])


def test_a_batch_of_another_size_is_drawn_anew():
    X, labels = batches("size")
    mixing = transform()
    mixing(0, np.arange(S), X, labels)
    rows, _ = mixing(0, np.arange(S), X[:, :5], labels[:, :5])
    assert torch.equal(rows, transform()(0, np.arange(S), X[:, :5], labels[:, :5])[0])


def test_images_are_mixed_as_wholes():
    images = torch.as_tensor(draw("images").standard_normal((S, B, 2, 3, 3)), dtype=torch.float32)
    _, labels = batches("images")
    rows, _ = transform()(0, np.arange(S), images, labels)
    flat, _ = transform()(0, np.arange(S), images.flatten(2), labels)
    assert torch.equal(rows.flatten(2), flat)


def test_what_is_given_is_left_as_it_was(linear):
    X, labels = batches("inputs")
    before, weights = (X.clone(), labels.clone()), copy.deepcopy(linear.state_dict())
    transform(linear, floor=0.5)(0, np.arange(S), X, labels)
    assert torch.equal(X, before[0])
    assert torch.equal(labels, before[1])
    assert all(torch.equal(weights[name], value) for name, value in linear.state_dict().items())


# ---------------------------------------------------------------------------------------------------- rows to measure


def test_mixed_rows_are_those_of_the_stream():
    X, labels = draw("measure").standard_normal((20, D)).astype(np.float32), draw("measured").integers(C, size=20)
    one, again, other = (mixed_rows(X, labels, classes=C, key=k) for k in (KEY, KEY, (*KEY, 1)))
    np.testing.assert_array_equal(one.mixed, again.mixed)
    assert (one.share != other.share).all()
    assert one.mixed.dtype == np.float32
    np.testing.assert_array_equal(one.labels, labels)
    expected = one.share[:, None] * X + (1 - one.share[:, None]) * X[one.partner]
    np.testing.assert_allclose(one.mixed, expected, rtol=0, atol=1e-6)
    half = mixed_rows(X, labels, classes=C, key=KEY, mixing=Mixing(partial=0.0))
    np.testing.assert_array_equal(half.mixed, X)


# ------------------------------------------------------------------------------------------------------ what is asked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "alpha > 0 and partial in .0, 1.; got alpha=0.0"),
        ({"alpha": np.nan}, "alpha=nan"),
        ({"alpha": np.inf}, "alpha=inf"),
        ({"partial": 1.1}, "partial=1.1"),
        ({"partial": -0.1}, "partial=-0.1"),
        ({"per": "batches"}, "per got 'batches'; did you mean 'batch'"),
    ],
)
def test_mixing_names_what_is_off(options, message):
    with pytest.raises(OptionError, match=message):
        Mixing(**options)


def test_integers_have_no_average():
    tokens, (_, labels) = torch.zeros(S, B, 3, dtype=torch.int64), batches("tokens")
    with pytest.raises(DataError, match=r"mixup averages rows; got torch.int64, which have no average \(token ids\?\)"):
        transform()(0, np.arange(S), tokens, labels)
    for ask in (
        lambda X: mix(X, Pairs(np.ones(2), np.arange(2))),
        lambda X: mixed_rows(X, [0, 1], classes=2, key=KEY),
    ):
        with pytest.raises(DataError, match="mixup averages rows; got int64"):
            ask(np.zeros((2, 3), dtype=np.int64))


def test_rows_and_pairs_must_fit():
    with pytest.raises(ShapeError, match=r"one pair per row, \(P=2,\); got shares \(3,\) and partners \(3,\)"):
        mix(np.ones((2, 3)), Pairs(np.ones(3), np.arange(3)))
    with pytest.raises(
        NotFiniteError, match=r"X holds 1 value that is not finite among 6; the first is nan at index \(1, 2\)"
    ):
        mixed_rows([[0.0, 0, 0], [0, 0, np.nan]], [0, 1], classes=2, key=KEY)
    with pytest.raises(OptionError, match="mixing needs two rows; got 1"):
        mixed_rows([[0.0]], [0], classes=2, key=KEY)
    with pytest.raises(DataError, match="labels must lie in 0 to 1; got 2"):
        mixed_rows(np.eye(2), [0, 2], classes=2, key=KEY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"floor": 1.5}, "a share in .0, 1.; got 1.5"),
        ({"floor": -0.5}, "got -0.5"),
        ({"temperature": 0.0}, "temperature must be a positive number or 'std'; got 0.0"),
        ({"temperature": "st"}, "got 'st'"),
        ({"floor": 1.0, "temperature": "std"}, "floor=1 leaves classes of probability 0"),
    ],
)
def test_mixed_batches_name_what_is_off(linear, options, message):
    with pytest.raises(OptionError, match=message):
        transform(linear, **options)


def test_a_floor_is_that_of_a_teacher():
    with pytest.raises(OptionError, match="floor=0.5 is that of a teacher's answers; it needs a teacher"):
        transform(floor=0.5)
