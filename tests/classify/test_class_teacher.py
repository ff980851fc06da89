"""Teachers: any module as one, fitted by plain torch's loop, shaped further, calibrated, and asked for labels."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers
from scipy import stats
from torch import nn
from torch.nn import functional as F

from uqkd import seeds
from uqkd.classify import Mixing, Shaping, Teacher, convolutional, perceptron, pretrained, residual
from uqkd.classify.networks.outputs import checked_logits
from uqkd.errors import DataError, DivergedError, NotFiniteError, OptionError, SeedReuseError, ShapeError
from uqkd.estimators import entropy, fit_temperature, negative_log_likelihood
from uqkd.stacked import Recipe, batch_orders

KEY = ("test", "class teacher")
P, C = 60, 3
X = seeds.generator(*KEY, "X").standard_normal((P, 4))
SCORES = X @ seeds.generator(*KEY, "scores").standard_normal((4, C))
LABELS = (SCORES + seeds.generator(*KEY, "noise").gumbel(size=SCORES.shape)).argmax(axis=1)
RECIPE = Recipe(steps=40, batch=16, optimiser="sgd", lr=0.2)
# 40 steps of gradient descent in single precision, sums in another order: 40 · 6e-8 of values of size 1 to 3
ROUNDING = {"rtol": 0, "atol": 1e-5}
ALPHA = 1e-5  # false alarms of one test by chance: 1e-3 over a family of a hundred


def network():
    return perceptron(4, C, hidden=(6,))


def fit(X=X, labels=LABELS, **options):
    return Teacher.fit(X, labels, **{"classes": C, "factory": network, "recipe": RECIPE, "key": KEY, **options})


@pytest.fixture(scope="module")
def teacher():
    return fit()


# --------------------------------------------------------------------------------------------------------- any module

CONFIG = transformers.BertConfig(
    vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, initializer_range=0.3
)
MODULES = {
    "perceptron": (network, (4,)),
    "convolutional": (lambda: convolutional(1, C, size=8, width=4), (1, 8, 8)),
    "residual": (lambda: residual(1, C, depth=8, width=4), (1, 8, 8)),
    "bert": (lambda: pretrained(CONFIG, C, pad=0), (5,)),
}


@pytest.mark.parametrize("name", MODULES)
def test_any_module_gives_its_own_answers(name):
    """In evaluation mode, with the running statistics that it has; in double precision too, and with frozen parts."""
    factory, row = MODULES[name]
    draw = seeds.generator(*KEY, "module", name)
    rows = torch.as_tensor(
        draw.integers(1, 9, (10, *row)) if name == "bert" else draw.standard_normal((10, *row)).astype("f4")
    )
    with seeds.torch_stream(*KEY, "module", name):
        module = factory()
    with torch.no_grad():
        for _ in range(3):
            module.train()(rows if name == "bert" else 2.0 * rows + 1.0)  # statistics that are not those of these rows
        expected = module.eval()(rows)
        own = copy.deepcopy(module).train()(rows)
    module.train()
    next(module.parameters()).requires_grad_(False)
    asked = Teacher.of(module, temperature=2.0)
    np.testing.assert_allclose(asked.logits(rows), expected / 2.0, rtol=0, atol=1e-5)  # single precision, one pass
    assert module.training
    if name == "residual":
        assert (own - expected).abs().max() > 1e-2  # statistics of the batch would show
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_allclose(asked.logits(rows), expected / 2.0, rtol=0, atol=1e-5)  # it is a copy


def test_double_precision_is_taken(teacher):
    module = Teacher.of(network().double())
    assert module.predict_proba(X).shape == (P, C)


# ------------------------------------------------------------------------------------------------------------- fitting


def plainly(network, order, loss, recipe):
    optimiser = torch.optim.SGD(network.train().parameters(), lr=recipe.lr)
    rows, labels = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(LABELS)
    for batch in torch.as_tensor(order, dtype=torch.int64):
        optimiser.zero_grad()
        loss(network(rows[batch]), labels[batch]).backward()
        optimiser.step()
    with torch.no_grad():
        return network.eval()(rows).numpy()


def test_fitting_is_plain_torch_with_cross_entropy(teacher):
    with seeds.torch_stream(*KEY, "initialisation", 0):
        alone = network()
    (order,) = batch_orders(P, 16, RECIPE.steps, [0], key=KEY)
    np.testing.assert_allclose(teacher.logits(X), plainly(alone, order, F.cross_entropy, RECIPE), **ROUNDING)


def test_teachers_of_one_pass_are_independent_and_the_first_is_the_one_fitted_alone(teacher):
    many = Teacher.fit_many(X, LABELS, teachers=3, classes=C, factory=network, recipe=RECIPE, key=KEY)
    np.testing.assert_allclose(many[0].logits(X), teacher.logits(X), **ROUNDING)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(many[one].logits(X) - many[other].logits(X)).max() > 1e-2
    np.testing.assert_array_equal(fit().logits(X), teacher.logits(X))
    assert np.abs(fit(key=(*KEY, "other")).logits(X) - teacher.logits(X)).max() > 1e-2


def test_mixup_of_the_teacher_makes_it_less_sure():
    """On mixed labels no answer is certain: with λ uniform the mean largest share of a label is 3/4."""
    recipe = Recipe(steps=400, lr=0.02)
    plain, mixed = (fit(labels=SCORES.argmax(axis=1), recipe=recipe, mixing=m) for m in (None, Mixing()))
    sure = [t.predict_proba(X).max(axis=1).mean() for t in (plain, mixed)]
    assert sure[0] > 0.95
    assert sure[1] < sure[0] - 0.05


def test_whether_a_teacher_may_recur_is_said(teacher):
    with seeds.ledger():
        fit()
        fit()
        once = {"teachers": 1, "classes": C, "factory": network, "recipe": RECIPE, "key": KEY, "shared": False}
        Teacher.fit_many(X, LABELS, **once)
        with pytest.raises(SeedReuseError):
            Teacher.fit_many(X, LABELS, **once)


# ------------------------------------------------------------------------------------------------------------- shaping


def test_shaping_goes_on_from_the_teacher(teacher):
    before = teacher.logits(X)
    still = teacher.shaped(X, LABELS, shaping=Shaping(), recipe=Recipe(steps=3, optimiser="sgd", lr=1e-12), key=KEY)
    np.testing.assert_allclose(still.logits(X), before, rtol=0, atol=1e-6)  # gradients of size 1: nothing moves
    recipe = Recipe(steps=20, batch=16, optimiser="sgd", lr=0.1)
    went_on = teacher.shaped(X, LABELS, shaping=Shaping(ce=1.0, focal=0.0, entropy=0.0), recipe=recipe, key=KEY)
    alone = teacher.model.student(0)
    (order,) = batch_orders(P, 16, 20, [0], key=(*KEY, "shaped"))
    np.testing.assert_allclose(went_on.logits(X), plainly(alone, order, F.cross_entropy, recipe), **ROUNDING)
    assert np.abs(went_on.logits(X) - before).max() > 1e-2
    np.testing.assert_array_equal(teacher.logits(X), before)  # the teacher itself stays as it was
    twice = went_on.shaped(X, LABELS, shaping=Shaping(), recipe=Recipe(steps=1, optimiser="sgd", lr=1e-12), key=KEY)
    np.testing.assert_allclose(
        twice.logits(X), went_on.logits(X), rtol=0, atol=1e-6
    )  # from where it is, not from the first


def test_shaping_with_entropy_leaves_a_less_certain_teacher(teacher):
    recipe = Recipe(steps=200, lr=0.02)
    spread = [
        entropy(
            teacher.shaped(X, LABELS, shaping=Shaping(gamma=0.0, entropy=amount), recipe=recipe, key=KEY).predict_proba(
                X
            )
        ).mean()
        for amount in (0.0, 0.5)
    ]
    assert spread[1] > spread[0] + 0.05


def test_a_shaped_teacher_keeps_its_temperature_and_its_statistics():
    images = seeds.generator(*KEY, "images").standard_normal((P, 1, 8, 8))
    first = Teacher.fit(
        images,
        LABELS,
        classes=C,
        factory=lambda: residual(1, C, depth=8, width=4),
        recipe=Recipe(steps=5, batch=8),
        key=KEY,
    )
    warm = Teacher(first.model, 3.0)
    still = Recipe(steps=1, batch=8, optimiser="sgd", lr=1e-12)
    seen = warm.shaped(images, LABELS, shaping=Shaping(), recipe=still, key=KEY)
    assert seen.temperature == 3.0
    before, after = (t.model.parameters_by_name(buffers=True) for t in (first, seen))
    moved = {n for n in before if not torch.allclose(before[n].double(), after[n].double(), rtol=0, atol=1e-6)}
    assert moved
    assert all("running" in name or "num_batches" in name for name in moved)  # one batch passed through


# --------------------------------------------------------------------------------------------------------- temperature


def test_calibrated_is_the_fitted_temperature_of_the_raw_logits(teacher):
    warm = Teacher(teacher.model, 5.0)
    expected = fit_temperature(teacher.logits(X), LABELS).temperature
    for asked in (teacher, warm, teacher.calibrated(X, LABELS)):
        assert asked.calibrated(X, LABELS).temperature == expected
    best = teacher.calibrated(X, LABELS)
    np.testing.assert_array_equal(best.logits(X), teacher.logits(X) / expected)
    np.testing.assert_allclose(
        best.predict_proba(X), torch.as_tensor(teacher.logits(X) / expected).softmax(-1), rtol=1e-14, atol=0
    )
    loss = [
        negative_log_likelihood(Teacher(teacher.model, t).predict_proba(X), LABELS)
        for t in (expected, expected * 1.05, expected / 1.05, 1.0)
    ]
    assert loss[0] < min(loss[1:])


def test_calibration_keeps_the_teacher_and_its_features(teacher):
    best = teacher.calibrated(X, LABELS)
    assert teacher.temperature == 1.0
    np.testing.assert_array_equal(best.features(X), teacher.features(X))
    assert teacher.features(X).shape == (P, 6)
    assert teacher.classes(X) == C


# ------------------------------------------------------------------------------------------------------------- answers


def p_value(drawn, probabilities):
    """Chi-square of the labels (S, P, k) against probabilities (P, C); every expected count is above 5."""
    counts = np.stack([(drawn == c).sum(axis=(0, 2)) for c in range(C)], axis=-1)
    expected = probabilities * drawn.shape[0] * drawn.shape[2]
    assert expected.min() > 5
    return stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) * (C - 1))


def test_labels_come_with_the_teachers_probabilities_at_its_temperature(teacher):
    """False alarm 1e-5; 60 · 2 degrees of freedom, 12,000 draws a row: a temperature off by a tenth is seen."""
    warm = Teacher(teacher.model, 2.0)
    drawn = warm.respond(X, 3_000, students=4, key=(*KEY, "answers"))
    assert drawn.shape == (4, P, 3_000)
    assert p_value(drawn, warm.predict_proba(X)) > ALPHA
    for wrong in (Teacher(teacher.model, 2.2), Teacher(teacher.model, 1.0)):  # not quite, and the temperature forgotten
        assert p_value(wrong.respond(X, 3_000, students=4, key=(*KEY, "wrong")), warm.predict_proba(X)) < ALPHA


def test_students_get_labels_of_their_own_and_equal_keys_equal_ones(teacher):
    one, again = (teacher.respond(X, 40, students=3, key=(*KEY, "own")) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    agreed = (one[0] == one[1]).mean()
    expected = (teacher.predict_proba(X) ** 2).sum(axis=1).mean()  # of two independent answers
    # P · 40 pairs; the share has a standard error of at most ½/√n, and ALPHA is 4.42 of them
    assert abs(agreed - expected) < stats.norm.isf(ALPHA / 2) * 0.5 / np.sqrt(P * 40)
    np.testing.assert_array_equal(teacher.respond(X, 3, students=3, key=(*KEY, "own")), one[..., :3])


# ------------------------------------------------------------------------------------------------------ what is asked


def broken(row):
    rows = X.copy()
    rows[row] = np.nan
    return rows


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": LABELS + 1}, DataError, "labels must lie in 0 to 2; got 3 at index"),
        ({"labels": LABELS - 1}, DataError, "labels must lie in 0 to 2; got -1 at index"),
        ({"labels": LABELS * 1.0}, DataError, "labels must be integers"),
        ({"labels": LABELS.astype(str)}, DataError, "labels must be integers"),
        ({"labels": LABELS[:5]}, ShapeError, r"labels needs shape \(P=60,\).*got \(5,\)"),
        ({"labels": 1}, ShapeError, "labels needs shape"),
        ({"labels": LABELS[:, None]}, ShapeError, "labels needs shape"),
        ({"classes": 1}, OptionError, "classes >= 2; got classes=1"),
        ({"classes": 2.5}, OptionError, "classes >= 2; got classes=2.5"),
        ({"classes": 10}, ShapeError, r"of 10 classes, of which 3 occur. Build it for 10 classes, or .* \(classes=3\)"),
        ({"key": "fkey"}, OptionError, r"key must be a tuple of names, such as key=\('fkey',\)"),
        ({"mixing": 0.4}, OptionError, r"mixing must be Mixing; got 0.4. Pass Mixing\(\)"),
        ({"factory": "perceptron:64"}, OptionError, "got 'perceptron:64'. Pass by_name"),
        (
            {"classes": 4},
            ShapeError,
            "the network gives 3 logits a row, but the targets are of 4 classes, of which 3 occur",
        ),
        ({"X": broken(7)}, NotFiniteError, "in 1 of 60 rows; the first is row 7"),
        ({"X": X[:0], "labels": LABELS[:0]}, ShapeError, r"at least one row; got \(0, 4\)"),
        ({"X": (9 * X).astype(int)}, DataError, "takes fractions"),
        ({"recipe": Recipe(steps=2, batch=99)}, OptionError, "batch=99, rows=60"),
        (
            {"recipe": Recipe(steps=9, optimiser="sgd", lr=1e30)},
            DivergedError,
            r"1 of 1 teachers diverged: teacher 0 at step \d+. Lower the learning rate or clip.$",
        ),
    ],
)
def test_what_cannot_be_fitted_is_named(options, error, message):
    with pytest.raises(error, match=message) as caught:
        fit(**options)
    assert "\n" not in str(caught.value)


def test_tokens_have_no_mixture():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(9, 4), nn.Linear(4, C)

        def forward(self, rows):
            return self.head(self.words(rows).mean(1))

    tokens = seeds.generator(*KEY, "tokens").integers(9, size=(P, 5))
    fit(X=tokens, factory=Tokens, recipe=Recipe(steps=2))
    with pytest.raises(DataError, match="mixup averages rows; got torch.int64"):
        fit(X=tokens, factory=Tokens, recipe=Recipe(steps=2), mixing=Mixing())


def test_teachers_that_cannot_answer(teacher):
    for k, students in ((0, 1), (1, 0), (2.5, 1), (1, True)):
        with pytest.raises(OptionError, match=f"k >= 1 and students >= 1; got k={k}, students={students}"):
            teacher.respond(X, k, students=students, key=KEY)
    with pytest.raises(NotFiniteError, match="the first is row 2"):
        teacher.respond(broken(2), 3, students=1, key=KEY)
    with pytest.raises(ShapeError, match="at least one row"):
        teacher.predict_proba(X[:0])
    for temperature in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(OptionError, match=f"temperature must be a positive number; got {temperature}"):
            Teacher.of(network(), temperature=temperature)
    with pytest.raises(OptionError, match="a whole number of teachers >= 1; got 0"):
        Teacher.fit_many(X, LABELS, teachers=0, classes=C, factory=network, recipe=RECIPE, key=KEY)
    with pytest.raises(DataError, match="every label has the largest logit"):
        teacher.calibrated(X, teacher.predict_proba(X).argmax(axis=1))
    with pytest.raises(ShapeError, match="labels needs shape"):
        teacher.shaped(X, LABELS[:3], shaping=Shaping(), recipe=RECIPE, key=KEY)


def test_a_shaped_teacher_that_diverges_is_called_one(teacher):
    with pytest.raises(DivergedError, match="1 of 1 shaped teachers diverged: shaped teacher 0 at step") as caught:
        teacher.shaped(X, LABELS, shaping=Shaping(), recipe=Recipe(steps=9, optimiser="sgd", lr=1e30), key=KEY)
    assert "exclude_failed" not in str(caught.value)
    with pytest.raises(OptionError, match="key must be a tuple"):
        teacher.shaped(X, LABELS, shaping=Shaping(), recipe=RECIPE, key="fkey")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("x", "Teacher.of takes a torch module that turns rows into logits; got 'x'"),
        (network, "got a function. Pass an nn.Module, or let one call it"),
        (
            transformers.BertForSequenceClassification(CONFIG),
            r"a BertForSequenceClassification of the transformers library gives an object. .* pretrained\(folder",
        ),
    ],
)
def test_what_is_no_teacher_is_named(module, message):
    with pytest.raises(OptionError, match=message) as caught:
        Teacher.of(module)
    assert "\n" not in str(caught.value)


def test_a_factory_of_a_library_model_is_told_to_wrap_it():
    with pytest.raises(OptionError, match=r"factory must build a torch module .* pass pretrained\(folder"):
        fit(factory=lambda: transformers.BertForSequenceClassification(CONFIG))


def test_the_remedy_for_a_library_model_works(tmp_path):
    transformers.BertForSequenceClassification(CONFIG).save_pretrained(tmp_path)
    tokens = seeds.generator(*KEY, "remedy").integers(1, 9, size=(5, 4))
    assert Teacher.of(pretrained(tmp_path, 2, pad=0)).predict_proba(tokens).shape == (5, 2)


# ------------------------------------------------------------------------------------------------- not logits at all


def with_softmax():
    return nn.Sequential(*network(), nn.Softmax(-1))


class TwoOrOne(nn.Module):
    """One logit a row, with or without an axis for it."""

    def __init__(self, axis):
        super().__init__()
        self.layer, self.axis = nn.Linear(4, 1), axis

    def forward(self, rows):
        return self.layer(rows) if self.axis else self.layer(rows)[:, 0]


def test_networks_that_end_in_a_softmax_are_refused_before_training_and_in_asking():
    recipe = Recipe(steps=10**9)  # nothing is trained
    asked = Teacher.of(with_softmax())
    for ask in (
        lambda: fit(factory=with_softmax, recipe=recipe),
        lambda: asked.predict_proba(X),
        lambda: asked.logits(X[:2]),
        lambda: asked.calibrated(X, LABELS),
        lambda: asked.respond(X, 1, students=1, key=KEY),
        lambda: asked.shaped(X, LABELS, shaping=Shaping(), recipe=recipe, key=KEY),
        lambda: asked.classes(X),
    ):
        with pytest.raises(OptionError, match="gives probabilities .* Remove the Softmax at its end") as caught:
            ask()
        assert "\n" not in str(caught.value)
    sigmoid = Teacher.of(nn.Sequential(*network(), nn.Sigmoid()))
    assert sigmoid.predict_proba(X).shape == (P, C)  # a strange network, but its rows do not sum to one
    Teacher.of(nn.Sequential(*network(), nn.LogSoftmax(-1))).predict_proba(X)  # logits as good as any


class Wrapped(nn.Module):
    """Gives an object that holds the logits."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, C)

    def forward(self, rows):
        return transformers.modeling_outputs.SequenceClassifierOutput(logits=self.layer(rows))


def test_networks_that_give_objects_are_refused_in_training_and_in_asking():
    for ask in (lambda: fit(factory=Wrapped), lambda: Teacher.of(Wrapped()).predict_proba(X)):
        with pytest.raises(ShapeError, match="into one tensor of N rows; .* gave SequenceClassifierOutput"):
            ask()


@pytest.mark.parametrize("axis", [True, False])
def test_networks_of_one_logit_are_refused(axis):
    for ask in (lambda: fit(factory=lambda: TwoOrOne(axis)), lambda: Teacher.of(TwoOrOne(axis)).predict_proba(X)):
        with pytest.raises(ShapeError, match="C >= 2 logits a row; this network gives outputs of shape .*1,"):
            ask()


def test_logits_are_not_taken_for_probabilities():
    """Ten thousand fresh networks, of two rows each; rows of zeros; a distribution beside a row that is none."""
    draw = seeds.generator(*KEY, "logits")
    for scale in (0.1, 1.0):
        for classes in (2, 3, 10):
            for outputs in draw.uniform(0.0, scale, (5_000, 1, 2, classes)):
                checked_logits(outputs)
    checked_logits(np.zeros((1, 5, 3)))
    checked_logits(np.full((1, 5, 3), np.nan))
    one = np.full((1, 9, 4), 0.25)
    for rows in (one[:, :1], np.where(np.arange(9)[:, None] == 8, 0.25 + 1e-5, one), one - [1, 0, 0, -1]):
        checked_logits(rows)
    with pytest.raises(OptionError, match="Softmax"):
        checked_logits(one)
