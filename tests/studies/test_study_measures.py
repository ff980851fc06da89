"""What the studies of classifiers hand to their students and what they are judged on, seen where the students are made."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from uqkd import data
from uqkd.classify import METHODS, TargetFactory, against_teacher, measure_mixup, mixed_rows
from uqkd.estimators import (
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
    """Classifiers by chance, much alike, and others for every name: their answers depend on the row alone."""

    def __init__(self, name, classes=10, students=3, own=slice(None)):
        self.name, self.classes, self.students, self.own = name, classes, students, own

    def part(self, m, each):
        """Those of one of several methods that were trained in one pass."""
        return Fakes(self.name, self.classes, self.students, slice(m * each, (m + 1) * each))

    def logits(self, X):
        rows = np.asarray(X, dtype=np.float64).reshape(len(X), -1)
        # fakes that differ by name and student and are alike in every run
        turn = np.random.default_rng([len(self.name), sum(self.name.encode())])
        shape = rows.shape[1], self.classes
        common, own = turn.standard_normal(shape), 0.1 * turn.standard_normal((self.students, *shape))[self.own]
        return rows @ (common + own) / rows.shape[1] ** 0.5

    features = logits

    def predict_proba(self, X):
        weights = np.exp(self.logits(X) - self.logits(X).max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True)


class Asked:
    """`distill`, noting what it is asked for."""

    def __init__(self):
        self.calls, self.made = [], 0

    def __call__(self, X, targets, **options):
        fakes = Fakes(f"{options['key']}, {self.made}", students=options["seed_design"].students)
        self.made += 1
        self.calls.append({"X": X, "targets": targets, "fakes": fakes, **options})
        return fakes

    def since(self):
        """The calls since this was last asked, which begin alike."""
        calls, self.calls = self.calls, []
        assert len({call["key"] for call in calls}) == 1
        assert all(set(call["seed_design"].recurring) >= {"initialisation", "order"} for call in calls)
        return calls


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


def assert_alike(design, methods):
    """Three students of each of several methods, which begin alike."""
    for levels in (design.initialisation, design.order):
        np.testing.assert_array_equal(levels, [0, 1, 2] * methods)


def of(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return table


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
    seen = {}
    for cell in planned(module, sharpness=[1.0, 3.0], replicates=2, **NETWORKS):
        table, number = module.measure(cell), cell["replicate"]
        known = cached_teacher(DIGITS, network="perceptron:8", recipe=cell_recipe(cell), replicate=number)
        seen[number] = known.logits(DIGITS.X[:5])
        assert set(table["replicate"]) == {number}
        for (sharpness, method), call in zip(product([1.0, 3.0], module.METHODS), asked.since(), strict=True):
            teacher = replace(known, temperature=sharpness)
            assert (call["mixing"] is None) == (method == "KD")
            if method == "KD":
                # softmax of numbers of order ten in double precision
                expected = softmax(known.logits(DIGITS.X) / sharpness)
                np.testing.assert_allclose(call["targets"].probabilities[0], expected, rtol=0, atol=1e-13)
            else:
                assert call["targets"].temperature == sharpness
            assert call["objective"].weight == 1.0
            assert_alike(call["seed_design"], 1)
            assert_judged(of(table, sharpness=sharpness, method=method), call["fakes"], DIGITS, teacher)
    assert (seen[0] != seen[1]).all()


def test_mixup_crosses_teaching_with_mixing(watched):
    module, asked = watched("classify_mixup")
    wanted = {"CE": (0.0, False), "CE + mixup": (0.0, True), "KD": (1.0, False), "KD + mixup": (1.0, True)}
    networks = {**NETWORKS, "teachers": ["perceptron:8", "perceptron:6"]}
    cells = planned(module, temperatures=[2.0], replicates=2, **networks)
    assert [(cell["teacher"], cell["alone"]) for cell in cells] == [("perceptron:8", True)] * 2 + [
        ("perceptron:6", False)
    ] * 2
    pairs = mixed_rows(DIGITS.X, DIGITS.labels, classes=10, key=("classify mixup", DIGITS.fingerprint))
    for cell in cells:
        table, calls = module.measure(cell), asked.since()
        teacher = cached_teacher(DIGITS, network=cell["teacher"], recipe=cell_recipe(cell), replicate=cell["replicate"])
        for method, call in zip(list(wanted)[0 if cell["alone"] else 2 :], calls, strict=True):
            assert (call["objective"].weight, call["mixing"] is not None) == wanted[method]
            assert call["objective"].temperature == (2.0 if "KD" in method else 1.0)
            assert np.array_equal(call["labels"], DIGITS.labels)
            assert_alike(call["seed_design"], 1)
            rows, fakes = of(table, method=method), call["fakes"]
            assert_judged(rows, fakes, DIGITS, teacher)
            for who, one in (("student", fakes), ("teacher", teacher)):
                assert_between(rows, who, measure_mixup(one, pairs))
            np.testing.assert_array_equal(values(rows, "kl_mixed"), against_teacher(fakes, teacher, pairs).kl_mixed)
            early = pairs.share <= 0.05  # the first of twenty bins
            np.testing.assert_allclose(  # means of the same numbers in another order
                values(rows, "nonlinearity at 0.025"),
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
        assert_judged(table, call["fakes"], DIGITS, teacher)


def test_pairs_hold_the_teacher_to_every_floor(watched):
    module, asked = watched("classify_pairs")
    pairs = mixed_rows(DIGITS.X, DIGITS.labels, classes=10, key=("classify pairs", DIGITS.fingerprint))
    for cell in planned(module, floors=[0.0, 0.5, 1.0], replicates=2, **NETWORKS):
        table = module.measure(cell)
        teacher = cached_teacher(DIGITS, network="perceptron:8", recipe=cell_recipe(cell), replicate=cell["replicate"])
        for floor, call in zip([0.0, 0.5, 1.0], asked.since(), strict=True):
            assert call["floor"] == floor
            assert call["mixing"] is not None
            assert call["objective"].weight == 1.0
            assert call["targets"] is teacher
            rows = of(table, floor=floor)
            assert_judged(rows, call["fakes"], DIGITS, teacher)
            for who, one in (("student", call["fakes"]), ("teacher", teacher)):
                assert_between(rows, who, measure_mixup(one, pairs))


def test_cud_gives_each_method_its_targets_and_counts_its_own_repairs(watched):
    module, asked = watched("classify_cud")
    grid = {"temperatures": [2.0, 4.0], "weights": [0.8], "replicates": 2}
    for cell in planned(module, tasks=["digits"], images=["perceptron:8", "perceptron:4"], **grid):
        table, fired = module.measure(cell), {}
        for temperature, call in zip([2.0, 4.0], asked.since(), strict=True):
            views = cached_target_factory(
                DIGITS, network="perceptron:8", recipe=call["recipe"], replicate=cell["replicate"]
            )
            assert np.array_equal(call["labels"], DIGITS.labels)
            assert_alike(call["seed_design"], len(cell["methods"]))
            assert (call["objective"].temperature, call["objective"].weight) == (temperature, 0.8)
            assert call["recipe"].lr == cell["lr"]
            for m, method in enumerate(cell["methods"]):
                given = call["targets"].probabilities[3 * m : 3 * m + 3]
                np.testing.assert_array_equal(given, np.repeat(views.targets(method).probabilities, 3, axis=0))
                fired[method] = views.firing_rate(method)
                rows, fakes = of(table, method=method, temperature=temperature), call["fakes"].part(m, 3)
                assert set(rows["fired"]) == {fired[method]}
                assert set(rows["training_accuracy"]) == {(views.probabilities.argmax(axis=1) == DIGITS.labels).mean()}
                assert_judged(rows, fakes, DIGITS, views.teacher)
                held = negative_log_likelihood(fakes.predict_proba(DIGITS.X_held), DIGITS.labels_held)
                np.testing.assert_array_equal(values(rows, "nll_held"), held)
        assert len(set(fired.values())) > 2  # so that a rate of another method is noticed


def test_variance_draws_labels_for_each_student_and_shares_all_else(watched):
    module, asked = watched("classify_variance")
    names = [*METHODS, *module.SAMPLED]
    for cell in planned(module, tasks=["digits"], images=["perceptron:8", "perceptron:4"], replicates=2):
        table, (call, *mixed) = module.measure(cell), asked.since()
        views = cached_target_factory(
            DIGITS, network="perceptron:8", recipe=call["recipe"], replicate=cell["replicate"]
        )
        assert_alike(call["seed_design"], len(names))
        assert (call["objective"].weight, "mixing" in call) == (1.0, False)
        for m, method in enumerate(names):
            given = call["targets"].probabilities[3 * m : 3 * m + 3]
            if method in METHODS:
                np.testing.assert_array_equal(given, np.repeat(views.targets(method).probabilities, 3, axis=0))
                continue
            assert (given[0] != given[1]).any()
            if not method.startswith("4 labels and folds"):
                counts = given * int(method.split()[0])
                np.testing.assert_array_equal(counts, counts.round())
                assert (counts % 2 == 1).any()  # as many labels as the name says, not fewer that were weighed more
        judged = {method: call["fakes"].part(m, 3) for m, method in enumerate(names)}
        for (method, weight), one in zip(module.MIXED.items(), mixed, strict=True):
            assert one["targets"] is views.teacher
            assert one["mixing"] is not None
            assert one["objective"].weight == weight
            judged[method] = one["fakes"]
        spread = gini(views.teacher.predict_proba(DIGITS.X_test))
        for method, fakes in judged.items():
            parts, rows = decompose_categorical(fakes.predict_proba(DIGITS.X_test)), of(table, method=method)
            for name, part in (
                ("within one student", parts.per_student_intra),
                ("between students", parts.per_student_inter),
            ):
                assert values(rows, name) == [share_of(part, spread)[0]]
            scores = evaluate(fakes, DIGITS)
            for name in ("accuracy", "nll"):
                assert values(rows, name) == pytest.approx([scores[name].mean()])


def test_shift_trains_on_rarer_classes_and_judges_on_each_shift(watched):
    module, asked = watched("classify_shift")
    small = {"images": ["perceptron:8", "perceptron:4"], "ratios": [1.0, 4.0], "replicates": 2}
    for cell in planned(module, tasks=["digits"], **small):
        table, (call, mixed) = module.measure(cell), asked.since()
        kept = data.long_tailed(DIGITS.labels, cell["ratio"], key=("classify shift", DIGITS.fingerprint))
        count = np.bincount(DIGITS.labels[kept])
        assert count[0] / count[-1] == pytest.approx(cell["ratio"], rel=0.05)  # whole rows, at least twenty
        task = replace(
            DIGITS, X=DIGITS.X[kept], labels=DIGITS.labels[kept],
            fingerprint=f"{DIGITS.fingerprint}, long-tailed {cell['ratio']:g}",
        )  # fmt: skip
        views = cached_target_factory(task, network="perceptron:8", recipe=call["recipe"], replicate=cell["replicate"])
        np.testing.assert_array_equal(views.labels, task.labels)
        assert mixed["targets"] is views.teacher
        assert ("mixing" in call, mixed["mixing"] is None) == (False, False)
        methods = [method for method in module.METHODS if method != module.MIXED]
        judged = {method: call["fakes"].part(m, 3) for m, method in enumerate(methods)} | {module.MIXED: mixed["fakes"]}
        for one in (call, mixed):
            np.testing.assert_array_equal(one["X"], task.X)
        for m, method in enumerate(methods):
            given = call["targets"].probabilities[3 * m : 3 * m + 3]
            np.testing.assert_array_equal(given, np.repeat(views.targets(method).probabilities, 3, axis=0))
        for method, fakes in judged.items():
            rows = of(table, method=method)
            for part, X in shifted_digits(module).items():
                expected = performance(fakes, X, DIGITS.labels_test)
                np.testing.assert_array_equal(values(of(rows, part=part), "nll"), expected["nll"])
            inside, outside = fakes.predict_proba(DIGITS.X_test), fakes.predict_proba(module.elsewhere(DIGITS))
            np.testing.assert_array_equal(values(rows, "ood_auroc"), out_of_distribution_auroc(inside, outside))
            for c in range(10):
                right = (inside.argmax(axis=2) == c)[:, DIGITS.labels_test == c].mean(axis=1)
                np.testing.assert_allclose(values(of(rows, part="class by class"), f"class {c}"), right, rtol=1e-12)


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
