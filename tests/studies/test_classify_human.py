"""The study on human ratings: what students learn, how settings are chosen, and how its table is made, by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.rated_files import rated_file
from uqkd import seeds
from uqkd.classify import METHODS
from uqkd.errors import OptionError
from uqkd.estimators import distance_to_raters, negative_log_likelihood
from uqkd.run import load_study
from uqkd.testbeds.rated import DISTANCES, rated_of, thirds

STUDY = load_study(Path(__file__).parents[2] / "studies/classify_human.py")
SMALL = {
    "dimensions": 4, "teacher": "perceptron:3", "student": "perceptron:2", "replicates": 2, "students": 2,
    "temperatures": [1.0, 2.0], "weights": [1.0], "lengths": [6], "steps": 60, "batch": 8,
}  # fmt: skip


class Named:
    """Students that answer by number: student s of a setting says (s + 1)/100 of the first class."""

    def __init__(self, targets, setting):
        self.targets, self.setting = targets, setting

    def predict_proba(self, X):
        first = 0.1 * self.setting + (np.arange(len(self.targets)) + 1) / 100
        return np.repeat(np.stack([first, 1 - first], axis=1)[:, None], len(X), axis=1)


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rated")
    return STUDY.module.cells(STUDY.options("quick", {**SMALL, "ratings": [str(rated_file(folder))]}))[0]


def test_students_get_the_targets_of_their_name_and_the_ceiling_the_raters(cell, monkeypatch):
    module, seen = STUDY.module, []

    def distill(X, targets, *, objective, mixing=None, **how):
        if mixing is None:
            seen.append(targets.probabilities)
            return Named(targets.probabilities, objective.temperature)
        assert targets is views.teacher
        assert (how["labels"] == task.train.majority).all()
        return Named([0, 0], 3.0)

    monkeypatch.setattr(module, "distill", distill)
    task = rated_of(cell)

    class Views:
        teacher = object()

        def targets(self, method):
            place = list(METHODS).index(method)
            chance = np.tile([0.01 * place, 1 - 0.01 * place], (len(task.X), 1))
            return type("T", (), {"probabilities": chance[None]})

    views = Views()
    made = list(module.trained(cell, task, views, ("test",)))
    assert [name for name, *_ in made] == [*METHODS, "raters", "teacher, mixup"] * 2
    for stacked in seen:
        assert stacked.shape == (2 * (len(METHODS) + 1), len(task.X), 2)
        for m in range(len(METHODS)):
            assert (stacked[2 * m : 2 * m + 2, :, 0] == 0.01 * m).all()
        assert np.array_equal(stacked[-1], task.train.counts / task.train.counts.sum(axis=1, keepdims=True))
    for place, (name, setting, held, test) in enumerate(made[: len(METHODS) + 1]):
        assert setting == "T=1, weight 1, 6 steps"
        assert held.shape[1] == len(task.validation.texts)
        assert np.allclose(test[:, 0, 0], 0.1 + np.array([2 * place + 1, 2 * place + 2]) / 100), name


def test_each_rule_chooses_by_validation_texts_alone(cell, monkeypatch):
    """Two settings: one is better by validation labels, the other by validation ratings; the test texts say the contrary."""
    module, task = STUDY.module, rated_of(cell)
    known = task.validation.majority >= 0
    sure = np.where(np.eye(2)[task.validation.counts.argmax(axis=1)] > 0, 0.95, 0.05)[None]
    shares = (task.validation.shares[None] + 0.01) / 1.02
    assert negative_log_likelihood(sure[:, known], task.validation.majority[known])[0] < 0.06
    scores = {name: module.losses(held, task) for name, held in (("sure", sure), ("shares", shares))}
    assert scores["sure"]["labels"] < scores["shares"]["labels"]
    assert scores["sure"]["raters"] > scores["shares"]["raters"]
    expected = distance_to_raters(sure[0], task.validation.counts).kl.mean()
    assert scores["sure"]["raters"] == pytest.approx(expected)
    bad, good = (np.tile([0.5 + d, 0.5 - d], (1, len(task.test.texts), 1)) for d in (0.4, -0.4))

    def trained(*_):
        yield "teacher", "sure", sure, bad
        yield "teacher", "shares", shares, good

    monkeypatch.setattr(module, "trained", trained)
    whole = module.measure(cell)
    groups, judging = thirds(task.test.counts, key=("classify human", cell["data_fingerprint"]))
    label = np.eye(2)[(task.test.counts - judging).argmax(axis=1)]
    told = whole.query("method == 'majority label' and rule == 'labels'")
    assert told["group"].tolist() == groups.tolist()
    assert told["squared"].to_numpy() == pytest.approx(distance_to_raters(label, judging).squared)
    own = distance_to_raters(np.eye(2)[judging.argmax(axis=1)], judging).squared.mean()
    assert own < told["squared"].mean()  # the label of those who judge would flatter itself
    table = whole.query("method == 'teacher'")
    chosen = table.groupby("rule")["setting"].unique().map(list).to_dict()
    assert chosen == {"labels": ["sure"], "raters": ["shares"]}
    assert len(table) == 2 * len(task.test.texts)


def test_differences_are_of_teachers_and_texts_and_groups_use_the_other_half():
    rng = seeds.generator("test", "human", "means")
    rows = []
    for method, less in (("teacher", 0.0), ("W-Clip", 0.2), ("teacher, temperature", 0.5)):
        for replicate in range(3):
            for text in range(9):
                value = 10.0 * replicate + text - less
                line = {"data": "d", "rule": "labels", "method": method, "replicate": replicate, "text": text}
                line["group"] = ("clear", "medium", "ambiguous")[text % 3]
                for name in DISTANCES:
                    line |= {name: value + 1e-6 * rng.normal(), f"{name}_half": 2 * value + 1e-6 * rng.normal()}
                rows.append(line)
    table = STUDY.module.means(pd.DataFrame(rows))
    found = table[table["other"] == "teacher"].set_index(["group", "measure", "method"])
    whole, clear = found.loc["all", "kl", "W-Clip"], found.loc["clear", "kl", "W-Clip"]
    assert whole["value"] == pytest.approx(13.8, abs=1e-4)
    assert whole["difference"] == pytest.approx(-0.2, abs=1e-4)
    assert clear["difference"] == pytest.approx(-0.4, abs=1e-4)
    assert (whole["rows"], clear["rows"], whole["teachers"]) == (9, 3, 3)
    assert whole["sign"] == "below"
    against = table[(table["other"] == "teacher, temperature") & (table["method"] == "W-Clip")].set_index(
        ["group", "measure"]
    )
    assert against.loc[("all", "kl"), "difference"] == pytest.approx(0.3, abs=1e-4)


def test_a_misspelt_network_is_refused_before_any_work(tmp_path):
    options = STUDY.options("quick", {**SMALL, "ratings": [str(rated_file(tmp_path))], "student": "perceptrn:4"})
    with pytest.raises(OptionError, match="perceptrn:4"):
        STUDY.module.cells(options)
