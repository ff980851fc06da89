"""What the studies of networks measure: who was trained on what, which numbers were made of it, and T1, T6, T9 where exact.

Networks without a hidden layer, trained to the end, are least-squares students that forget where they began: what the
studies then report has a closed form. Which draws, rows, beginnings and levels they used is read off the calls they made.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from uqkd import data, seeds
from uqkd.linear import Design
from uqkd.mlp import Teacher
from uqkd.run import load_study
from uqkd.testbeds.cells import regression_of
from uqkd.theory import statements as theory

STUDIES = Path(__file__).parents[2] / "studies"
averaging, noise, bootstrap, begin, weighting = (
    load_study(STUDIES / f"mlp_{name}.py").module
    for name in ("response_averaging", "teacher_noise", "data_bootstrap", "initialisation", "variance_weighting")
)
LINEAR = {"hidden": (), "steps": 2_000}  # by then a linear network is the least-squares fit to 1e-4 of a response's sd


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Forty rows that no line fits, and features that are not symmetric: rows differ in leverage, parts differ."""
    x = seeds.generator("test", "measure", "x").exponential(size=(40, 2))
    e = seeds.generator("test", "measure", "e").standard_normal(40)
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    frame = pd.DataFrame(x, columns=["a", "b"])
    frame.assign(y=x @ [1.0, -2.0] + np.sin(3 * x[:, 0]) + 0.7 * e).to_csv(path, index=False)
    return str(path)


class Calls:
    """A function that is called as it was, and remembers with what."""

    def __init__(self, monkeypatch, module, name):
        self.function, self.seen = getattr(module, name), []
        monkeypatch.setattr(module, name, self)

    def __call__(self, *arguments, **named):
        found = self.function(*arguments, **named)
        self.seen.append(SimpleNamespace(arguments=arguments, found=found, **named))
        return found

    def joined(self, what):
        return np.concatenate([what(call) for call in self.seen])


def one(module, rows, choose=lambda cell: True, **options):
    """One cell of a study on the file, as it comes back from the store's JSON."""
    cells = module.cells(module.Options(data=(rows,), target="y", **options))
    (cell,) = [cell for cell in cells if choose(cell)]
    return json.loads(json.dumps(cell))


def measured(module, cell):
    with seeds.ledger():  # as the runner does: a draw used twice is an error
        return module.measure(cell)


def parts(cell):
    part = data.split(regression_of(cell))
    return part, part.features, part.features_test


def spread_of(answers):
    """Variance between students (S, P) averaged over prompts, and its standard error over students."""
    square = ((answers - answers.mean(axis=0)) ** 2).mean(axis=1)
    return answers.var(axis=0, ddof=1).mean(), square.std(ddof=1) / np.sqrt(len(answers))


def assert_row(row, expected):
    np.testing.assert_allclose([row["simulated"], row["standard_error"]], expected, rtol=1e-9)


def assert_z(row, expected, limit=4.5):
    """|z| <= 4.5: one false alarm in 10⁵ of a normal; squares of hundreds of students have a slightly longer tail."""
    assert abs(row["simulated"] - expected) <= limit * row["standard_error"], (row["simulated"], expected)


def assert_noise(responses, mean, noise_var):
    """PositiveInt (S, P, k) have the teacher's mean and variance, and no two students, prompts or responses share noise."""
    off = responses - mean[:, None]
    assert abs(off.mean()) < 5 * np.sqrt(noise_var / off.size)
    assert abs((off**2).mean() - noise_var) < 5 * noise_var * np.sqrt(2 / off.size)
    for axis in range(3):
        if (n := off.shape[axis]) > 1:  # a mean over n independent values has variance noise_var/n
            rest = off.size / n
            assert abs((off.mean(axis=axis) ** 2).mean() * n / noise_var - 1) < 5 * np.sqrt(2 / rest)


# --- response averaging and teacher noise: T1, T8 ---------------------------------------------------------------------


def a_teacher(cell, part, hidden):
    """The teacher of a cell, fitted apart from the study: on the training rows, once for all its cells."""
    options = {"hidden": hidden, "recipe": averaging.Recipe(steps=cell["steps"])}
    key = ("mlp", "teacher", cell["data_fingerprint"])
    return Teacher.fit(part.features, part.y_standard, noise_var=0.0, key=key, **options)


@pytest.mark.parametrize(("alpha", "k"), [(0.5, 4), (2.0, 1)])
def test_averaging_measures_least_squares_where_students_are(rows, alpha, k):
    """300 students at 8 points of rank 3: the standard error is 5 to 8 %, so that a factor of 1.5 cannot hide."""
    cell = one(averaging, rows, lambda c: c["alpha"] == alpha, ks=(k,), alphas=(alpha,), replicates=300, **LINEAR)
    part, _, _ = parts(cell)
    row = measured(averaging, cell).iloc[0]
    truth = alpha / k * Design.of(part.X).leverage_at(part.X_test).mean()
    assert row["least_squares"] == pytest.approx(truth, rel=1e-10)
    assert_z(row, truth)
    silent = measured(averaging, {**cell, "alpha": 0.0, "k": 1}).iloc[0]
    assert silent["simulated"] < 1e-4 * truth  # trained to the end; otherwise the above would hold by accident
    assert silent["least_squares"] == 0.0


def test_averaging_trains_on_means_of_k_fresh_responses_and_reports_all_students(rows, monkeypatch):
    cell = one(averaging, rows, lambda c: c["alpha"] > 0, ks=(3,), alphas=(0.8,), replicates=120, hidden=(4,), steps=20)
    part, X, X_test = parts(cell)
    monkeypatch.setattr(seeds, "CHUNK", 50)
    calls = Calls(monkeypatch, averaging, "distill")
    row = measured(averaging, cell).iloc[0]
    assert len(calls.seen) > 1
    for name in ("responses", "initialisation", "order"):
        np.testing.assert_array_equal(calls.joined(lambda c, name=name: getattr(c.seed_design, name)), np.arange(120))
    drawn = calls.joined(lambda c: c.arguments[1].responses)
    assert_noise(drawn, a_teacher(cell, part, (4,)).predict_mean(X), 0.8)
    np.testing.assert_allclose(calls.joined(lambda c: c.arguments[1].values), drawn.mean(axis=2), rtol=1e-12)
    assert all(np.array_equal(c.arguments[0], X) for c in calls.seen)
    assert_row(row, spread_of(calls.joined(lambda c: c.found.predict_mean(X_test))))
    assert (row["students"], row["alpha"], row["k"]) == (120, 0.8, 3)


@pytest.mark.parametrize("free", ["all", "responses"])
def test_teacher_noise_measures_least_squares_where_students_are(rows, free):
    wanted = {"alphas": (0.0, 0.7), "replicates": 400, "initialisations": 20, **LINEAR}
    cell = one(noise, rows, lambda c: (c["alpha"], c["free"]) == (0.7, free), **wanted)
    part, _, _ = parts(cell)
    row = measured(noise, cell).iloc[0]
    assert row["least_squares"] == pytest.approx(theory.inter_student_variance(part.X, part.X_test, 0.7, 1).mean())
    assert_z(row, row["least_squares"])
    line = np.linalg.lstsq(part.X, part.y_standard, rcond=None)[0]  # what a linear teacher answers
    left = part.y_test_standard - part.X_test @ line
    assert row["teacher_r2"] == pytest.approx(1 - (left**2).mean() / part.y_test_standard.var(), abs=1e-3)


def test_teacher_noise_of_all_sources_is_that_of_independent_students(rows, monkeypatch):
    wanted = {"alphas": (0.7,), "replicates": 120, "hidden": (4,), "steps": 20}
    cell = one(noise, rows, lambda c: c["free"] == "all", **wanted)
    part, X, X_test = parts(cell)
    monkeypatch.setattr(seeds, "CHUNK", 50)
    calls = Calls(monkeypatch, noise, "distill")
    row = measured(noise, cell).iloc[0]
    for name in ("responses", "initialisation", "order"):
        np.testing.assert_array_equal(calls.joined(lambda c, name=name: getattr(c.seed_design, name)), np.arange(120))
    assert_noise(calls.joined(lambda c: c.arguments[1].responses), a_teacher(cell, part, (4,)).predict_mean(X), 0.7)
    assert_row(row, spread_of(calls.joined(lambda c: c.found.predict_mean(X_test))))
    assert row["students"] == 120


def test_students_that_begin_alike_differ_in_their_responses_alone(rows, monkeypatch):
    """Groups of one beginning each; the same beginnings at every noise level, but never the same responses."""
    wanted = {"alphas": (0.2, 0.7), "replicates": 60, "initialisations": 6, "hidden": (4,), "steps": 20}
    part, seen = None, {}
    for alpha in (0.2, 0.7):
        cell = one(noise, rows, lambda c, a=alpha: (c["alpha"], c["free"]) == (a, "responses"), **wanted)
        part, X, X_test = parts(cell)
        with monkeypatch.context() as patch:
            calls = seen[alpha] = Calls(patch, noise, "distill")
            row = measured(noise, cell).iloc[0]
        assert [np.unique(c.seed_design.initialisation).tolist() for c in calls.seen] == [[i] for i in range(6)]
        np.testing.assert_array_equal(calls.joined(lambda c: c.seed_design.responses), np.arange(60))
        drawn = calls.joined(lambda c: c.arguments[1].responses)
        assert_noise(drawn, a_teacher(cell, part, (4,)).predict_mean(X), alpha)
        own = [c.found.predict_mean(X_test).var(axis=0, ddof=1).mean() for c in calls.seen]
        assert_row(row, (np.mean(own), np.std(own, ddof=1) / np.sqrt(6)))
        assert row["students"] == 60
    low, high = seen.values()
    assert [c.key for c in low.seen] == [c.key for c in high.seen]
    shared = np.corrcoef(*(c.joined(lambda c: c.arguments[1].values).ravel() - np.tile(a_teacher(
        cell, part, (4,)).predict_mean(X), 60) for c in (low, high)))[0, 1]  # fmt: skip
    assert abs(shared) < 5 / np.sqrt(60 * len(X))
    # almost no noise, and one step only: what is left between students that begin alike is far below one beginning's reach
    silent = {**cell, "alpha": 1e-12, "steps": 1}
    assert measured(noise, silent)["simulated"].iloc[0] < 1e-6 < 1e-3
    assert measured(noise, {**silent, "free": "all"})["simulated"].iloc[0] > 1e-2


# --- bootstrap of the rows: T9 ----------------------------------------------------------------------------------------

NETWORKS = {"teacher": (6,), "student": (4,), "steps": 20, "replicates": 60, "initialisations": 6}


def a_cell(rows, labels, vary, fraction=1.0, **options):
    def chosen(c):
        return (c["labels"], c["vary"], c["fraction"]) == (labels, vary, fraction)

    return one(bootstrap, rows, chosen, fractions=(0.5, 1.0), **{**NETWORKS, **options})


def test_a_linear_teachers_students_all_equal_it_whatever_rows_they_see(rows):
    """T9: noise-free answers of a linear teacher leave bootstrap students nothing to differ in; the truth does."""
    linear = {"teacher": (), "student": (), "steps": 4_000, "replicates": 100}
    for vary in ("both", "rows", "begin"):
        exact = measured(bootstrap, a_cell(rows, "teacher", vary, **linear)).iloc[0]
        assert exact["simulated"] < 1e-6
        assert exact["least_squares"] < 1e-6  # residuals of the teacher's own answers
    truth = measured(bootstrap, a_cell(rows, "truth", "both", **linear)).iloc[0]
    assert truth["simulated"] > 1e-2
    # the sandwich holds for many rows; at 32 rows with three coefficients it is low, but by no factor of three
    assert 1 / 3 < truth["least_squares"] / truth["simulated"] < 1.5


@pytest.mark.parametrize("labels", ["truth", "teacher"])
@pytest.mark.parametrize(("vary", "fraction"), [("both", 0.5), ("rows", 0.5), ("begin", 1.0)])
def test_bootstrap_students_vary_in_what_the_cell_says(rows, monkeypatch, labels, vary, fraction):
    cell = a_cell(rows, labels, vary, fraction)
    part, X, X_test = parts(cell)
    monkeypatch.setattr(seeds, "CHUNK", 25)
    calls = Calls(monkeypatch, bootstrap, "distill")
    row = measured(bootstrap, cell).iloc[0]
    options = {"hidden": (6,), "recipe": bootstrap.Recipe(steps=20)}
    key = ("mlp", "wide teacher", cell["data_fingerprint"])
    teacher = Teacher.fit(X, part.y_standard, noise_var=0.0, key=key, **options)
    wanted = part.y_standard if labels == "truth" else teacher.predict_mean(X)
    for call in calls.seen:
        np.testing.assert_allclose(call.arguments[1].values, wanted[None], rtol=1e-12)
        assert call.drawn == (None if vary == "begin" else 16)
        assert (call.seed_design.bootstrap is None) == (vary == "begin")
        assert call.hidden == (4,)
    answers = [c.found.predict_mean(X_test) for c in calls.seen]
    if vary != "begin":
        np.testing.assert_array_equal(calls.joined(lambda c: c.seed_design.bootstrap), np.arange(60))
    if vary == "rows":
        assert [np.unique(c.seed_design.initialisation).tolist() for c in calls.seen] == [[i] for i in range(6)]
        own = [a.var(axis=0, ddof=1).mean() for a in answers]
        assert_row(row, (np.mean(own), np.std(own, ddof=1) / np.sqrt(6)))
    else:
        np.testing.assert_array_equal(calls.joined(lambda c: c.seed_design.initialisation), np.arange(60))
        assert_row(row, spread_of(np.concatenate(answers)))
    assert (row["drawn"], row["students"], row["rows"]) == (16 if vary != "begin" else 32, 60, 32)
    assert row["teacher_error"] == pytest.approx(((part.y_test_standard - teacher.predict_mean(X_test)) ** 2).mean())
    residual = wanted - part.X @ np.linalg.lstsq(part.X, wanted, rcond=None)[0]
    sandwich = theory.bootstrap_variance(part.X, residual, part.X_test, drawn=row["drawn"])
    assert row["least_squares"] == pytest.approx(sandwich.mean(), rel=1e-6)


def test_students_of_resamples_begin_alike_at_every_fraction_and_for_both_labels(rows, monkeypatch):
    keys = set()
    for labels in ("truth", "teacher"):
        for fraction in (0.5, 1.0):
            with monkeypatch.context() as patch:
                calls = Calls(patch, bootstrap, "distill")
                bootstrap.measure(a_cell(rows, labels, "rows", fraction, replicates=12))
                keys |= {call.key for call in calls.seen}
    assert len(keys) == 1


# --- initialisation: where students begin, and what training makes of it ---------------------------------------------


def an_epsilon(rows, epsilon, **options):
    common = {"hidden": (4,), "steps": 1, "replicates": 120}
    return one(begin, rows, lambda c: c["perturbation"] == epsilon, perturbations=(0.1, 0.2), **{**common, **options})


@pytest.mark.parametrize("epsilon", [0.1, begin.INDEPENDENT])
def test_before_and_after_are_of_the_same_students(rows, monkeypatch, epsilon):
    cell = an_epsilon(rows, epsilon)
    part, X, X_test = parts(cell)
    monkeypatch.setattr(seeds, "CHUNK", 50)
    began, trained = Calls(monkeypatch, begin, "initialisation"), Calls(monkeypatch, begin, "distill")
    table = measured(begin, cell).set_index(["quantity", "when"])
    np.testing.assert_array_equal(trained.joined(lambda c: c.seed_design.initialisation), np.arange(120))
    teacher = a_teacher(cell, part, (4,)).predict_mean(X)
    for call in trained.seen:
        np.testing.assert_allclose(call.arguments[1].values, teacher[None], rtol=1e-12)  # noise-free, the same for all
    for name in began.seen[0].found:
        before, after = (
            began.joined(lambda c, n=name: c.found[n]),
            trained.joined(lambda c, n=name: c.found.parameters[n]),
        )
        # the first step of Adam moves every parameter by its learning rate at most; float32 rounds at 1e-7
        assert 0 < np.abs(after - before).max() <= 0.01 * (1 + 1e-4)
        for when, values in (("before", before), ("after", after)):
            assert_row(table.loc[name, when], spread_of(values.reshape(120, -1).astype(np.float64)))
    assert_row(table.loc["answers", "after"], spread_of(trained.joined(lambda c: c.found.predict_mean(X_test))))
    own = [begin.answers(c.found, X_test)[..., 0] for c in began.seen]
    assert_row(table.loc["answers", "before"], spread_of(np.concatenate(own)))
    assert set(table["students"]) == {120}


def test_spread_before_training_is_that_of_the_scheme(rows):
    """Independent: 1/(3·fan_in). Near one network: ε² times its squares, in the same directions at every ε."""
    free = measured(begin, an_epsilon(rows, begin.INDEPENDENT)).set_index(["quantity", "when"])
    for name, fan_in in (("0.weight", 2), ("0.bias", 2), ("2.weight", 4), ("2.bias", 4)):
        assert_z(free.loc[name, "before"], 1 / (3 * fan_in))
    near, far = (measured(begin, an_epsilon(rows, e)).set_index(["quantity", "when"]) for e in (0.1, 0.2))
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert far.loc[name, "before"]["simulated"] == pytest.approx(
            4 * near.loc[name, "before"]["simulated"], rel=1e-9
        )


# --- weighting against a second source: T6 ----------------------------------------------------------------------------


def fake_setting():
    """Everything written down: 2 students, 3 prompts, 4 responses."""
    rng = seeds.generator("test", "measure", "fake")
    drawn = {"responses": rng.standard_normal((2, 3, 4)), "fresh responses": 10 + rng.standard_normal((2, 3, 4))}
    asked = {}

    def answers(targets, seed_design, name, X):
        asked[name] = (targets.values, X)
        return {"cross-fitted": np.full((2, 3), 5.0), "same draws": np.full((2, 3), -5.0)}[name]

    setting = SimpleNamespace(
        responses=lambda seed_design, name: drawn[name], answers=answers, teacher=SimpleNamespace(noise_var=2.0), X="train",
        at_train=np.array([1.0, 2.0, 3.0]), network_var=np.array([0.1, 0.5, 3.0]), network_bias=np.array([1.0, 0.0, 2.0]),
    )  # fmt: skip
    return setting, drawn["responses"], drawn["fresh responses"], asked


def test_every_methods_labels_by_hand():
    setting, mine, fresh, asked = fake_setting()
    with pytest.warns(weighting.FewResponsesWarning):
        found = weighting.labels(setting, {"methods": list(weighting.METHODS)}, None)
    var, told, mean = setting.network_var, setting.network_var + setting.network_bias, mine.mean(axis=2)

    def blend(second, first_var, second_var):
        return (second_var * mean + first_var * second) / (first_var + second_var)

    expected = {
        "average": mean,
        "average of 2k": (mean + fresh.mean(axis=2)) / 2,
        "oracle": blend(setting.at_train, mine.var(axis=2), 2.0),  # published: variance of one response, ddof 0
        "same draws": blend(-5.0, 2.0 / 4, var),
        "fresh, known": blend(5.0, 2.0 / 4, var),
        "fresh, bias counted": blend(5.0, 2.0 / 4, told),
        "fresh, estimated": blend(5.0, mine.var(axis=2, ddof=1) / 4, told),
    }
    assert list(found) == list(expected) == list(weighting.METHODS)
    for method, values in expected.items():
        np.testing.assert_allclose(found[method].values, values, rtol=1e-12, err_msg=method)
    np.testing.assert_allclose(asked["cross-fitted"][0], fresh.mean(axis=2), rtol=1e-12)
    np.testing.assert_allclose(asked["same draws"][0], mean, rtol=1e-12)
    assert {X for _, X in asked.values()} == {"train"}
    alone = weighting.labels(setting, {"methods": ["oracle"]}, None)
    np.testing.assert_allclose(alone["oracle"].values, expected["oracle"], rtol=1e-12)
    assert list(alone) == ["oracle"]


def a_weighting(rows, **options):
    common = {"ks": (4,), "alphas": (0.6,), "pilot": 40, "replicates": 60, "hidden": (4,), "steps": 20}
    return one(weighting, rows, **{**common, **options})


def test_the_pilot_estimates_variance_and_squared_bias_at_the_training_rows(rows, monkeypatch):
    cell = a_weighting(rows)
    calls = Calls(monkeypatch, weighting, "distill")
    setting = weighting.Setting(cell)
    part, X, _ = parts(cell)
    (pilot,) = calls.seen
    means, mean = pilot.found.predict_mean(X), a_teacher(cell, part, (4,)).predict_mean(X)
    variance = means.var(axis=0, ddof=1)
    np.testing.assert_allclose(setting.network_var, variance, rtol=1e-10)
    off = means - pilot.arguments[1].responses.mean(axis=2)  # against its own responses: the mean itself is not known
    bias = off.mean(axis=0) ** 2 - off.var(axis=0, ddof=1) / 40  # the noise in a mean of 40 is no bias
    np.testing.assert_allclose(setting.network_bias, np.maximum(bias, 0), rtol=1e-8, atol=1e-14)
    assert_noise(pilot.arguments[1].responses, mean, 0.6)
    assert pilot.arguments[1].responses.shape == (40, 32, 4)


def test_errors_are_about_the_teachers_mean_and_of_networks_at_the_test_rows(rows, monkeypatch):
    cell = a_weighting(rows, methods=("average", "average of 2k", "fresh, known"))
    part, X, X_test = parts(cell)
    monkeypatch.setattr(seeds, "CHUNK", 25)
    calls = Calls(monkeypatch, weighting, "distill")
    table = measured(weighting, cell).set_index(["method", "quantity"])
    teacher = a_teacher(cell, part, (4,))
    by_name = {}
    for call in calls.seen:
        by_name.setdefault(call.key[-1], []).append(call)
    for method in cell["methods"]:
        own = by_name[f"student, {method}"]
        np.testing.assert_array_equal(np.concatenate([c.seed_design.initialisation for c in own]), np.arange(60))
        labels = np.concatenate([c.arguments[1].values for c in own])
        answers = np.concatenate([c.found.predict_mean(X_test) for c in own])
        for quantity, values, at in (("label error", labels, X), ("student error", answers, X_test)):
            square = ((values - teacher.predict_mean(at)) ** 2).mean(axis=1)
            row = table.loc[method, quantity]
            assert_row(row, (square.mean(), square.std(ddof=1) / np.sqrt(60)))
            assert row["inter_var"] == pytest.approx(values.var(axis=0, ddof=1).mean(), rel=1e-9)
    mine = np.concatenate([c.arguments[1].responses for c in by_name["student, average"]])
    both = np.concatenate([c.arguments[1].responses for c in by_name["student, average of 2k"]])
    np.testing.assert_array_equal(both[:, :, :4], mine)
    assert_noise(both, teacher.predict_mean(X), 0.6)  # also: the second half shares nothing with the first
    fresh = np.concatenate([c.arguments[1].responses for c in by_name["cross-fitted"]])
    np.testing.assert_array_equal(both[:, :, 4:], fresh)
    share = weighting.Setting(cell)
    assert table["bias_share"].iloc[0] == pytest.approx(share.network_bias.mean() / share.network_var.mean())


def oracle_factor(k):
    """E[w²] of the published weight w = 1/(1 + s²/σ_T²), s² = σ_T²·χ²(k − 1)/k; the mean is independent of it."""
    density = stats.chi2(k - 1).pdf
    return integrate.quad(lambda q: density(q) / (1 + q / k) ** 2, 0, np.inf)[0]


def test_label_errors_of_least_squares_students_are_those_of_t6(rows):
    """Linear networks trained to the end: h of T1 is each row's leverage, v = α/k.

    Weights come from a pilot of 400: an error of √(2/399) = 7 % in a variance costs its blend at most ¼ · .07² = .1 %.
    """
    methods = ("average", "average of 2k", "oracle", "same draws", "fresh, known")
    cell = a_weighting(rows, methods=methods, pilot=400, replicates=400, **LINEAR)
    part, _, _ = parts(cell)
    table = measured(weighting, cell).set_index(["method", "quantity"])
    v, h = 0.6 / 4, Design.of(part.X).leverage_at(part.X)
    label = {
        "average": v,
        "average of 2k": v / 2,
        "oracle": v * oracle_factor(4),
        "fresh, known": v * (h / (1 + h)).mean(),
        "same draws": v * (h + h**2 * (1 - h) / (1 + h) ** 2).mean(),
    }
    for method, expected in label.items():
        assert_z(table.loc[method, "label error"], expected)
    at_test = Design.of(part.X).leverage_at(part.X_test).mean()
    assert_z(table.loc["average", "student error"], v * at_test)
    assert_z(table.loc["average of 2k", "student error"], v / 2 * at_test)


# --- what the studies make of their tables, by hand -------------------------------------------------------------------


def test_the_floor_is_held_against_the_noise_free_students_of_the_same_data():
    """A law known exactly for α/k <= SMALL, and bent where labels are noisier: the two fits differ."""
    ks, rows = np.array([1, 2, 5, 10, 20]), []
    floors = {"one": 0.03, "two": 0.07}
    for name, floor in floors.items():
        rows.append({"data": name, "alpha": 0.0, "k": 1, "simulated": 2 * floor, "standard_error": 0.004})
        for k in ks:
            at = (floor + 0.6 / k) * (1.0 if 0.5 / k <= averaging.SMALL else 1.3)
            numbers = {"simulated": at, "standard_error": 0.02 * at, "least_squares": 0.2 / k}
            rows.append({"data": name, "alpha": 0.5, "k": k, **numbers})
    found = averaging.fits(pd.DataFrame(rows)).set_index(["data", "ks"])
    for name, floor in floors.items():
        small = found.loc[(name, "small")]
        law = averaging.fit_averaging_law(
            ks[2:], floor + 0.6 / ks[2:], 0.02 * (floor + 0.6 / ks[2:]), proportional=True
        )
        np.testing.assert_allclose([small["floor"], small["slope"], small["times"]], [floor, 0.6, 3.0], rtol=1e-6)
        assert small["times_se"] == pytest.approx(law.slope_se / 0.2, rel=1e-6)
        assert (small["noise_free"], small["noise_free_se"]) == (2 * floor, 0.004)
        assert small["floor_z"] == pytest.approx((floor - 2 * floor) / np.hypot(law.floor_se, 0.004), rel=1e-5)
        assert small["lack_of_fit_p"] > 0.999
        assert found.loc[(name, "all")]["lack_of_fit_p"] < 0.01


def test_amplification_takes_off_what_noise_free_students_vary_by_unless_all_begin_alike():
    table = pd.DataFrame(
        [
            {"data": "d", "free": "all", "alpha": 0.0, "simulated": 0.1, "standard_error": 0.03, "least_squares": 0.0},
            {"data": "d", "free": "all", "alpha": 1.0, "simulated": 0.7, "standard_error": 0.04, "least_squares": 0.2},
            {"data": "d", "free": "responses", "alpha": 1.0, "simulated": 0.5, "standard_error": 0.04, "least_squares": 0.2},
            {"data": "e", "free": "all", "alpha": 1.0, "simulated": 0.4, "standard_error": 0.02, "least_squares": 0.2},
        ]
    )  # fmt: skip
    grown = noise.amplified(table)
    np.testing.assert_allclose(grown["amplification"], [3.0, 2.5, 2.0])
    np.testing.assert_allclose(grown["amplification_se"], [0.25, 0.2, 0.1])


def test_training_multiplies_by_after_over_before():
    about = {"data": "d", "perturbation": 0.1, "quantity": "0.weight"}
    table = pd.DataFrame(
        [
            {**about, "when": "before", "simulated": 0.5, "standard_error": 0.03 * 0.5},
            {**about, "when": "after", "simulated": 2.0, "standard_error": 0.04 * 2.0},
        ]
    )
    row = begin.compared(table).iloc[0]
    np.testing.assert_allclose(row[["before", "after", "ratio", "ratio_se"]].astype(float), [0.5, 2.0, 4.0, 0.2])


def test_errors_are_relative_to_plain_averaging_of_the_same_k():
    rows = [
        {"data": "d", "alpha": 0.5, "k": k, "quantity": "label error", "method": m, "simulated": s, "standard_error": e}
        for k, m, s, e in ((2, "average", 4.0, 0.4), (2, "oracle", 1.0, 0.05), (5, "average", 2.0, 0.1))
    ]
    keys = ["data", "alpha", "k", "quantity"]
    found = weighting.relative_to(pd.DataFrame(rows), keys, method="average").set_index(["k", "method"])
    np.testing.assert_allclose(found["ratio"], [1.0, 0.25, 1.0])
    np.testing.assert_allclose(found["ratio_se"], [0.0, 0.25 * np.hypot(0.05, 0.1), 0.0])


# --- all cells together -----------------------------------------------------------------------------------------------

FEW = {"replicates": 6, "hidden": (2,), "steps": 2}
TINY = {
    averaging: {"ks": (1, 2), "alphas": (0.1, 0.5), **FEW},
    noise: {"alphas": (0.0, 0.1, 0.5), "initialisations": 2, **FEW},
    bootstrap: {"fractions": (0.5, 1.0), "teacher": (2,), "student": (2,), "steps": 2, "replicates": 6, "initialisations": 2},
    begin: {"perturbations": (0.1, 0.2), **FEW},
    weighting: {"ks": (2, 3), "alphas": (0.1, 0.5), "pilot": 3, **FEW},
}  # fmt: skip


@pytest.mark.parametrize("module", TINY, ids=lambda module: Path(module.__file__).stem)
def test_no_two_cells_share_a_draw_but_on_purpose(rows, module):
    """Points of one figure are independent of each other: their ratios and fits count on it."""
    with seeds.ledger():
        for cell in module.cells(module.Options(data=(rows,), target="y", **TINY[module])):
            module.measure(json.loads(json.dumps(cell)))
