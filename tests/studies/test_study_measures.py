"""What the studies of classifiers hand to their students and what they are judged on, seen where the students are made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uqkd import data
from uqkd.classify import TargetFactory, against_teacher, measure_mixup, mixed_rows
from uqkd.estimators import (
    class_accuracy_changes,
    decompose_categorical,
    entropy,
    gini,
    kl_divergence,
    negative_log_likelihood,
    out_of_distribution_auroc,
    share_of,
)
from uqkd.run import load_study
from uqkd.testbeds.classification import cached_target_factory, cached_teacher, cell_recipe, evaluate, performance

STUDIES = Path(__file__).parents[2] / "studies"
SMALL = {"students": 3, "steps": 6, "batch": 16}
NETWORKS = {"teachers": ["perceptron:8"], "student": "perceptron:8"}
DIGITS = data.load_task("digits")


class Fakes:
    """Three classifiers by chance, much alike, and others for every name: their answers depend on the row alone."""

    def __init__(self, name, classes=10):
        self.name, self.classes = name, classes

    def logits(self, X):
        rows = np.asarray(X, dtype=np.float64).reshape(len(X), -1)
        # fakes that differ by name and student and are alike in every run
        turn = np.random.default_rng([len(self.name), sum(self.name.encode())])
        shape = rows.shape[1], self.classes
        common, own = turn.standard_normal(shape), 0.1 * turn.standard_normal((3, *shape))
        return rows @ (common + own) / rows.shape[1] ** 0.5

    features = logits

    def predict_proba(self, X):
        weights = np.exp(self.logits(X) - self.logits(X).max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True)


class Asked:
    """`distill`, noting what it is asked for."""

    def __init__(self):
        self.calls = []

    def __call__(self, X, targets, **options):
        self.calls.append({"X": X, "targets": targets, **options})
        return Fakes(str(options["key"]))


@pytest.fixture
def watched(monkeypatch):
    """A study whose students are fakes: its module, and what `distill` was asked for."""

    def load(name):
        module, asked = load_study(STUDIES / f"{name}.py").module, Asked()
        monkeypatch.setattr(module, "distill", asked)
        return module, asked

    return load


def planned(module, **options):
    return module.cells(module.Options.model_validate({**SMALL, **options}))


def values(table, measure, who="student"):
    rows = table[table["measure"] == measure]
    rows = rows[rows["who"] == who] if "who" in rows else rows
    return rows["value"].to_numpy()


def only(calls):
    assert len(calls) == 1
    return calls.pop()


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def assert_independent(seed_design, students=3):
    assert len(set(seed_design.initialisation)) == len(set(seed_design.order)) == students


def assert_judged(table, fakes, task, teacher=None):
    """The numbers are those of the test rows, after a temperature of the calibration rows, for each who."""
    for who, asked in (("student", fakes), ("teacher", teacher)):
        if asked is not None:
            for name, expected in evaluate(asked, task).items():
                np.testing.assert_array_equal(values(table, name, who), expected)


# ------------------------------------------------------------------------------------------------- a task and its teacher


def test_test_rows_judge_and_calibration_rows_set_the_temperature():
    recipe = cell_recipe({"steps": 100, "batch": 16, "lr": 3e-3})
    asked = cached_teacher(DIGITS, network="perceptron:8", recipe=recipe)
    found = evaluate(asked, DIGITS)
    own = {"held": (DIGITS.X_held, DIGITS.labels_held)}
    for name, expected in performance(asked, DIGITS.X_test, DIGITS.labels_test, **own).items():
        np.testing.assert_array_equal(found[name], expected)
    nll = negative_log_likelihood(asked.predict_proba(DIGITS.X_test), DIGITS.labels_test)
    np.testing.assert_array_equal(found["nll"], nll)
    assert np.isfinite(found["temperature"]).all()  # NaN would equal NaN
    other = replace(DIGITS, X_held=DIGITS.X_held[:200], labels_held=DIGITS.labels_held[:200])
    assert (evaluate(asked, other)["temperature"] != found["temperature"]).all()


def test_a_teacher_is_trained_once_for_each_task_architecture_and_recipe():
    recipe = cell_recipe({"steps": 4, "batch": 16, "lr": 3e-3})
    first = cached_teacher(DIGITS, network="perceptron:4", recipe=recipe)
    assert cached_teacher(DIGITS, network="perceptron:4", recipe=recipe) is first
    others = [
        cached_teacher(DIGITS, network="perceptron:5", recipe=recipe),
        cached_teacher(DIGITS, network="perceptron:4", recipe=replace(recipe, lr=1e-3)),
        cached_teacher(replace(DIGITS, X=DIGITS.X[:99], labels=DIGITS.labels[:99], fingerprint="fewer"),
                      network="perceptron:4", recipe=recipe),
    ]  # fmt: skip
    for other in others:
        assert (other.predict_proba(DIGITS.X_test) != first.predict_proba(DIGITS.X_test)).any()
    views = cached_target_factory(DIGITS, network="perceptron:4", recipe=recipe)
    assert isinstance(views, TargetFactory)
    assert cached_target_factory(DIGITS, network="perceptron:4", recipe=recipe) is views


# ------------------------------------------------------------------------------------------------------------- the studies


def test_calibration_gives_students_the_sharpened_teacher_and_judges_it(watched):
    module, asked = watched("classify_calibration")
    for cell in planned(module, sharpness=[1.0, 3.0], **NETWORKS):
        table, call = module.measure(cell), only(asked.calls)
        teacher = cached_teacher(DIGITS, network="perceptron:8", recipe=cell_recipe(cell))
        expected = softmax(teacher.logits(DIGITS.X) / cell["sharpness"])
        teacher = replace(teacher, temperature=cell["sharpness"])
        assert (call["mixing"] is None) == (cell["method"] == "KD")
        if cell["method"] == "KD":
            # softmax of numbers of order ten in double precision
            np.testing.assert_allclose(call["targets"].probabilities[0], expected, rtol=0, atol=1e-13)
        else:
            assert call["targets"].temperature == cell["sharpness"]
        assert call["objective"].weight == 1.0
        assert_independent(call["seed_design"])
        assert_judged(table, Fakes(str(call["key"])), DIGITS, teacher)


def test_mixup_crosses_teaching_with_mixing(watched):
    module, asked = watched("classify_mixup")
    wanted = {"CE": (0.0, False), "CE + mixup": (0.0, True), "KD": (1.0, False), "KD + mixup": (1.0, True)}
    cells = planned(module, temperatures=[2.0], **NETWORKS)
    assert [cell["method"] for cell in cells] == list(wanted)
    for cell in cells:
        table, call = module.measure(cell), only(asked.calls)
        teacher = cached_teacher(DIGITS, network="perceptron:8", recipe=cell_recipe(cell))
        assert (call["objective"].weight, call["mixing"] is not None) == wanted[cell["method"]]
        assert call["objective"].temperature == cell["temperature"]
        assert np.array_equal(call["labels"], DIGITS.labels)
        assert_independent(call["seed_design"])
        fakes = Fakes(str(call["key"]))
        assert_judged(table, fakes, DIGITS, teacher)
        pairs = mixed_rows(DIGITS.X, DIGITS.labels, classes=10, key=("classify mixup", DIGITS.fingerprint))
        for who, one in (("student", fakes), ("teacher", teacher)):
            assert_between(table, who, measure_mixup(one, pairs))
        np.testing.assert_array_equal(values(table, "kl_mixed"), against_teacher(fakes, teacher, pairs).kl_mixed)
        early = pairs.share <= 0.05  # the first of twenty bins
        np.testing.assert_allclose(  # means of the same numbers in another order
            values(table, "nonlinearity at 0.025"),
            measure_mixup(fakes, pairs).per_pair[:, early].mean(axis=1),
            rtol=1e-12,
        )


def assert_between(table, who, between):
    for name, expected in between.per_student().items():
        np.testing.assert_array_equal(values(table, name, who), expected)


def test_temperature_mixes_and_weighs_as_its_methods_say(watched):
    module, asked = watched("classify_temperature")
    wanted = {"KD": (1.0, False), "KD + mixup": (1.0, True), "KD + mixup + CE": (0.8, True)}
    for cell in planned(module, temperatures=[1.0, 4.0], teacher="perceptron:8", student="perceptron:8", replicates=2):
        table, call = module.measure(cell), only(asked.calls)
        number = cell["replicate"]
        teacher = cached_teacher(DIGITS, network="perceptron:8", recipe=cell_recipe(cell), replicate=number)
        other = cached_teacher(DIGITS, network="perceptron:8", recipe=cell_recipe(cell), replicate=1 - number)
        assert (teacher.logits(DIGITS.X[:5]) != other.logits(DIGITS.X[:5])).any()
        assert set(table["replicate"]) == {number}
        assert (call["objective"].weight, call["mixing"] is not None) == wanted[cell["method"]]
        assert call["objective"].temperature == cell["temperature"]
        assert np.array_equal(call["labels"], DIGITS.labels)
        assert_independent(call["seed_design"])
        assert_judged(table, Fakes(str(call["key"])), DIGITS, teacher)


def test_pairs_hold_the_teacher_to_every_floor(watched):
    module, asked = watched("classify_pairs")
    for cell in planned(module, floors=[0.0, 0.5, 1.0], **NETWORKS):
        table, call = module.measure(cell), only(asked.calls)
        teacher = cached_teacher(DIGITS, network="perceptron:8", recipe=cell_recipe(cell))
        assert call["floor"] == cell["floor"]
        assert call["mixing"] is not None
        assert call["objective"].weight == 1.0
        fakes = Fakes(str(call["key"]))
        assert_judged(table, fakes, DIGITS, teacher)
        pairs = mixed_rows(DIGITS.X, DIGITS.labels, classes=10, key=("classify pairs", DIGITS.fingerprint))
        for who, one in (("student", fakes), ("teacher", teacher)):
            assert_between(table, who, measure_mixup(one, pairs))


def test_cud_gives_each_method_its_targets_and_counts_its_own_repairs(watched):
    module, asked = watched("classify_cud")
    cells = planned(
        module,
        tasks=["digits"],
        images=["perceptron:8", "perceptron:4"],
        temperatures=[2.0],
        weights=[0.8],
    )
    fired = {}
    for cell in cells:
        table, call = module.measure(cell), only(asked.calls)
        views = cached_target_factory(DIGITS, network="perceptron:8", recipe=call["recipe"])
        method = cell["method"]
        np.testing.assert_array_equal(call["targets"].probabilities, views.targets(method).probabilities)
        assert np.array_equal(call["labels"], DIGITS.labels)
        assert_independent(call["seed_design"])
        assert (call["objective"].temperature, call["objective"].weight) == (2.0, 0.8)
        assert call["recipe"].lr == cell["lr"]
        fired[method] = views.firing_rate(method)
        assert set(table["fired"]) == {fired[method]}
        right = (views.probabilities.argmax(axis=1) == DIGITS.labels).mean()
        assert set(table["training_accuracy"]) == {right}
        fakes = Fakes(str(call["key"]))
        assert_judged(table, fakes, DIGITS, views.teacher)
        held = negative_log_likelihood(fakes.predict_proba(DIGITS.X_held), DIGITS.labels_held)
        np.testing.assert_array_equal(values(table, "nll_held"), held)
    assert len(set(fired.values())) > 2  # so that a rate of another method is noticed


def test_variance_draws_labels_for_each_student_and_shares_all_else(watched):
    module, asked = watched("classify_variance")
    for cell in planned(module, tasks=["digits"]):
        table, call = module.measure(cell), only(asked.calls)
        method = cell["method"]
        views = cached_target_factory(DIGITS, network="convolutional:16", recipe=call["recipe"])
        assert call["objective"].weight == {"labels, mixup": 0.0}.get(method, 1.0)
        assert (call["mixing"] is not None) == (method in module.MIXED)
        if method in module.MIXED:
            assert call["targets"] is views.teacher
        elif method in module.SAMPLED:
            given = call["targets"].probabilities
            assert len(given) == 3
            assert (given[0] != given[1]).any()
            if not method.startswith("4 labels and folds"):
                counts = given * int(method.split()[0])
                np.testing.assert_array_equal(counts, counts.round())
                assert (counts % 2 == 1).any()  # as many labels as the name says, not fewer that were weighed more
        else:
            np.testing.assert_array_equal(call["targets"].probabilities, views.targets(method).probabilities)
        fakes = Fakes(str(call["key"]))
        parts = decompose_categorical(fakes.predict_proba(DIGITS.X_test))
        spread = gini(views.teacher.predict_proba(DIGITS.X_test))
        for name, part in (
            ("within one student", parts.per_student_intra),
            ("between students", parts.per_student_inter),
        ):
            found = table[table["measure"] == name].iloc[0]
            assert (found["value"], found["standard_error"]) == share_of(part, spread)
        scores = evaluate(fakes, DIGITS)
        assert values(table, "accuracy") == pytest.approx([scores["accuracy"].mean()])
        error = table.loc[table["measure"] == "nll", "standard_error"].iloc[0]
        assert error == pytest.approx(scores["nll"].std(ddof=1) / np.sqrt(3))


def test_shift_trains_on_rarer_classes_and_judges_on_each_shift(watched):
    module, asked = watched("classify_shift")
    cells = planned(module, tasks=["digits"], ratios=[1.0, 4.0])
    for cell in cells:
        table, calls = module.measure(cell), asked.calls[:]
        asked.calls.clear()
        kept = data.long_tailed(DIGITS.labels, cell["ratio"], key=("classify shift", DIGITS.fingerprint))
        count = np.bincount(DIGITS.labels[kept])
        assert count[0] / count[-1] == pytest.approx(cell["ratio"], rel=0.05)  # whole rows, at least twenty
        by = {}
        for method, call in zip(module.METHODS, calls, strict=True):
            np.testing.assert_array_equal(call["X"], DIGITS.X[kept])
            fakes = by[method] = Fakes(str(call["key"]))
            rows = table[table["method"] == method]
            if method == "teacher, mixup":
                assert call["mixing"] is not None
                continue
            assert call["mixing"] is None
            task = replace(
                DIGITS, X=DIGITS.X[kept], labels=DIGITS.labels[kept],
                fingerprint=f"{DIGITS.fingerprint}, long-tailed {cell['ratio']:g}",
            )  # fmt: skip
            views = cached_target_factory(task, network="convolutional:16", recipe=call["recipe"])
            np.testing.assert_array_equal(views.labels, task.labels)
            np.testing.assert_array_equal(call["targets"].probabilities, views.targets(method).probabilities)
            for part, X in shifted_digits(module).items():
                expected = performance(fakes, X, DIGITS.labels_test)
                np.testing.assert_array_equal(values(rows[rows["part"] == part], "nll"), expected["nll"])
            inside, outside = fakes.predict_proba(DIGITS.X_test), fakes.predict_proba(module.elsewhere(DIGITS))
            np.testing.assert_array_equal(values(rows, "ood_auroc"), out_of_distribution_auroc(inside, outside))
        told = table[table["part"] == "class by class"]
        assert set(told["method"]) == set(module.METHODS) - {"teacher"}
        probabilities = {method: fakes.predict_proba(DIGITS.X_test) for method, fakes in by.items()}
        for method in set(module.METHODS) - {"teacher"}:
            changes = class_accuracy_changes(probabilities[method], probabilities["teacher"], DIGITS.labels_test)
            rows = told[told["method"] == method]
            assert values(rows, "improved") == [len(changes.improved)]
            assert values(rows, "worsened") == [len(changes.worsened)]
        assert told["value"].sum() > 0  # the fakes differ, so that a method held against itself is noticed


def shifted_digits(module):
    """Test rows as they are and in four shifts, by the numbers of the rows."""
    X, key = DIGITS.X_test, ("classify shift", DIGITS.fingerprint)
    scale = {"background": float(X.min()), "pixel_range": float(X.max() - X.min())}
    found = {name: data.shifted(X, name, 3, key=key, **scale) for name in data.SHIFTS}
    assert all((moved != X).any(axis=(1, 2, 3)).all() for moved in found.values())
    return {"as trained": X, **found}


def test_texts_lose_words_and_are_judged_by_their_own_posterior():
    shift, task = load_study(STUDIES / "classify_shift.py").module, data.load_task("intents:6")
    lost, labels = shift.parts(task)["words lost"]
    left = (lost != 0).sum() / (task.X_test != 0).sum()
    # a word is lost with chance .3: some 17,000 words, standard error .0035, and a row keeps one at least
    assert left == pytest.approx(0.7, abs=0.02)
    np.testing.assert_array_equal(labels, task.labels_test)
    np.testing.assert_array_equal(shift.parts(task)["as trained"][0], task.X_test)

    spread = entropy(task.posterior_test)
    doubtful = spread >= np.sort(spread)[-(len(spread) // 3)]  # without ties a third
    fakes = Fakes("doubt", classes=6)
    found = shift.doubts(fakes, task)
    q = fakes.predict_proba(task.X_test[doubtful])
    kl = kl_divergence(task.posterior_test[doubtful], q, least=1e-12).mean(axis=1)
    np.testing.assert_allclose(found["kl"], kl, rtol=1e-12)  # means of the same numbers in another order
    np.testing.assert_allclose(found["entropy"], entropy(q).mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found["true_entropy"], spread[doubtful].mean(), rtol=1e-12)


def test_averages_of_two_images_have_both_classes_as_their_truth():
    shift, fakes = load_study(STUDIES / "classify_shift.py").module, Fakes("doubt")
    found = shift.doubts(fakes, DIGITS)
    key = ("classify shift", DIGITS.fingerprint)
    both = data.ambiguous(DIGITS.X_test, DIGITS.labels_test, key=key, pairs=500, shared=True)
    q = fakes.predict_proba(both.images)
    cross = sum(-0.5 * np.log(q[:, np.arange(500), both.annotators[:, side]]) for side in (0, 1))
    np.testing.assert_allclose(found["kl"], cross.mean(axis=1) - np.log(2), rtol=1e-9)  # KL = cross-entropy − log 2
    np.testing.assert_allclose(found["true_entropy"], np.log(2))


def test_targets_are_made_of_wrong_labels_and_held_against_both_truths(monkeypatch):
    module = load_study(STUDIES / "classify_targets.py").module
    seen = []

    class Noting(TargetFactory):
        @classmethod
        def fit(cls, X, labels, **options):
            seen.append((labels, options))
            return TargetFactory.fit(X, labels, **options)

    monkeypatch.setattr(module, "TargetFactory", Noting)
    small = {"classes": [4], "rows": 200, "steps": 20, "replicates": 2, "transformer_classes": []}
    options = module.Options.model_validate({**small, "noise": [0.0, 0.3]})
    for cell in module.cells(options):
        table, (labels, how) = module.measure(cell), seen.pop()
        noise, key = cell["noise"], how["key"]
        world = data.IntentWorld.make(classes=4, overlap=0.5, key=("classify targets", "world"))
        drawn = world.draw(200, key=key)
        np.testing.assert_array_equal(labels, data.with_label_noise(drawn.labels, noise, classes=4, key=key))
        assert ((labels != drawn.labels).mean() > 0.1) == (noise > 0)
        truth = world.posterior(drawn.words)
        X, factory, recipe = module.reading(cell, world, drawn)
        views = TargetFactory.fit(X, labels, classes=4, factory=factory, recipe=recipe, key=key)
        assert set(table["training_accuracy"]) == {(views.probabilities.argmax(axis=1) == labels).mean()}
        assert set(table["out_of_fold_accuracy"]) == {(views.folds.logits.argmax(axis=1) == labels).mean()}
        assert set(table["temperature"]) == {views.temperature}
        noisy = (1 - noise) * truth + noise * (1 - truth) / 3
        for method in module.METHODS:
            target, rows = views.targets(method).probabilities[0], table[table["method"] == method].set_index("truth")
            for of, p in (("the class", truth), ("the label", noisy)):
                expected = kl_divergence(p, target, least=1e-12).mean()
                assert rows.loc[of, "kl"] == pytest.approx(expected, rel=1e-9)
            assert set(rows["fired"]) == {views.firing_rate(method)}
