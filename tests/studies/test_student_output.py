"""The study of students' outputs: its numbers by hand, T4 for labels it draws itself, and what networks make of them."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uqkd import data, seeds
from uqkd.estimators import entropy, gini
from uqkd.estimators.variance.two_way import two_way_standard_error
from uqkd.mlp import SeedDesign
from uqkd.mlp.responding import Answering
from uqkd.mlp.teacher import ClassAnswers
from uqkd.run import Run, load_study
from uqkd.store import Store
from uqkd.testbeds.cells import classes_of
from uqkd.testbeds.uncertainty import by_answer, of_students, share
from uqkd.theory.statements.memorising import memorised_entropy, memorised_parts

ROOT = Path(__file__).parents[2]
study = load_study("student_output", folder=ROOT / "studies")
module = study.module

P = np.array([[0.5, 0.25, 0.25], [0.75, 0.25, 0.0], [1.0, 0.0, 0.0]])  # quarters, and one prompt without doubt
FACES = np.array([[0, 0, 1, 2], [0, 0, 0, 1], [0, 0, 0, 0]])  # four equally likely labels per prompt


class Known(Answering):
    """A teacher whose distributions are written down: one prompt per row of X."""

    def __init__(self, p):
        self.p = p

    def predict_proba(self, X):
        return self.p[: len(X)]

    def at(self, X):
        return ClassAnswers(self.predict_proba(X))


def every_memoriser(k):
    """All 4**k equally likely students that memorise k labels, (S, P, C)."""
    draws = np.array(list(product(range(4), repeat=k)))
    return np.eye(3)[FACES[:, draws]].mean(axis=2).transpose(1, 0, 2)


@pytest.fixture(scope="module")
def small():
    """Every cell of wine at temperature 4, with single labels and one short training, as one table."""
    options = study.options(
        overrides={"data": "wine", "temperatures": 4.0, "ks": (1, 8), "lengths": 0.02, "students": 16}
    )
    return pd.concat([module.measure(json.loads(json.dumps(cell))) for cell in module.cells(options)])


def value(table, quantity, **where):
    for column, wanted in {"student": "network", "answered": "all", "length": 1.0, **where}.items():
        table = table[table[column] == wanted]
    return table.set_index("quantity")["simulated"][quantity]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_all_memorisers_of_k_labels_give_t4_exactly(k):
    q = every_memoriser(k)
    found = of_students(q, P, np.zeros(3, dtype=int), k)
    unbiased = len(q) / (len(q) - 1)  # inter has ddof 1, and these students are all there are
    assert found["intra"][0] == pytest.approx(1 - 1 / k)
    assert found["inter"][0] == pytest.approx(unbiased / k)
    assert found["λ from intra"][0] == pytest.approx(0)
    assert found["λ from inter"][0] == pytest.approx(1 - np.sqrt(unbiased))
    assert found["expected entropy"][0] == pytest.approx(memorised_parts(P, k)["expected entropy"])
    assert found["accuracy"][0] == pytest.approx((q.argmax(axis=-1) == 0).mean())


def test_shrinkage_towards_the_teacher_is_read_off_both_shares():
    q = 0.6 * every_memoriser(2) + 0.4 * P
    found = of_students(q, P, np.zeros(3, dtype=int), 2)
    assert found["λ from intra"][0] == pytest.approx(0.4)
    assert found["λ from inter"][0] == pytest.approx(1 - 0.6 * np.sqrt(16 / 15))
    sharp = of_students(q**2 / (q**2).sum(axis=-1, keepdims=True), P, np.zeros(3, dtype=int), 2)
    assert abs(sharp["λ from intra"][0] - sharp["λ from inter"][0]) > 0.05  # biased students: the two disagree
    assert sharp["total"][0] < 0.95


def test_shares_are_ratios_of_means_so_that_prompts_without_doubt_weigh_nothing():
    q = every_memoriser(1)
    with_certain = share(1 - (q**2).sum(axis=-1) + 0.1 * gini(P), gini(P))
    assert with_certain[0] == pytest.approx(0.1)
    assert with_certain[1] == pytest.approx(0, abs=1e-12)  # the same share at every prompt: no prompt adds error
    assert np.isnan(share(np.zeros((4, 1)), np.zeros(1))[0])


def test_soft_labels_are_labels_without_end():
    soft, many = memorised_parts(P, None), memorised_parts(P, 4_000)
    assert (soft["intra"], soft["inter"], soft["mutual information"]) == (1, 0, 0)
    assert soft["expected entropy"] == entropy(P).mean()
    classes = (P > 0).sum(axis=1)
    lost = entropy(P) - memorised_entropy(P, 4_000)
    np.testing.assert_allclose(lost, (classes - 1) / 8_000, rtol=1e-3, atol=1e-15)  # Miller–Madow, T4
    assert many["inter"] == 1 / 4_000
    seed_design = SeedDesign.independent(3)
    targets = module.drawn(Known(P), np.zeros((3, 1)), None, seed_design, ("test", "soft"))
    assert (targets.probabilities == P).all()
    assert len(targets.probabilities) == 3
    assert not any(name.startswith("λ") for name in of_students(targets.probabilities, P, np.zeros(3, int), None))


def judged(draw, p, k=4):
    return {row["quantity"]: row for row in module.of_labels(draw, p, k)}


def test_labels_of_a_known_teacher_agree_with_t4_and_wrong_ones_do_not():
    p = seeds.generator("test", "student output", "known").dirichlet([1.0] * 5, size=200)
    X, seed_design = np.zeros((200, 1)), SeedDesign.independent(60)
    key = ("test", "student output", "labels")
    rows = judged(module.drawn(Known(p), X, 4, seed_design, key).probabilities, p)
    assert {row["statement"] for row in rows.values()} == {"T4"}
    assert max(abs(row["z"]) for row in rows.values()) < 4.4  # one false alarm in 30,000 for three comparisons
    sharp = p**1.2 / (p**1.2).sum(axis=1, keepdims=True)
    wrong = {
        "sharper teacher": module.drawn(Known(sharp), X, 4, seed_design, (*key, "sharp")),
        "forgets k": module.drawn(Known(p), X, 1, seed_design, (*key, "single")),
        "one label too many": module.drawn(Known(p), X, 5, seed_design, (*key, "five")),
    }
    for name, targets in wrong.items():
        assert np.nanmax([abs(row["z"]) for row in judged(targets.probabilities, p).values()]) > 10, name


def test_too_few_unlikely_labels_are_not_judged():
    p = np.tile([0.999, 0.001], (50, 1))
    draw = np.tile([1.0, 0.0], (10, 50, 1))
    draw[0, 0] = [0.0, 1.0]
    assert {row["statement"] for row in judged(draw, p, k=1).values()} == {""}


def test_networks_memorise_single_labels_only_if_trained_for_long(small):
    training = {"prompts": "training", "k": 1.0}
    assert value(small, "intra", **training) < 0.02
    assert 0.7 < value(small, "inter", **training) < 1.3
    assert value(small, "intra", **training, length=0.02) > 0.4
    assert value(small, "inter", **training, length=0.02) < 0.5
    assert value(small, "λ from inter", **training, length=0.02) > 0.3


def test_more_labels_bring_the_spread_back_and_soft_ones_all_of_it(small):
    kept = [value(small, "intra", prompts="training", k=k) for k in (1.0, 8.0, np.inf)]
    assert kept[0] < kept[1] < kept[2]
    assert kept[2] == pytest.approx(1, abs=0.01)
    assert value(small, "inter", prompts="test", k=np.inf) < 0.02


def test_entropies_and_shares_add_up(small):
    for where in ("training", "test"):
        for k in (1.0, 8.0, np.inf):
            found = {name: value(small, name, prompts=where, k=k) for name in ("intra", "inter", "total")}
            assert found["total"] == pytest.approx(found["intra"] + found["inter"])
            found = {name: value(small, name, prompts=where, k=k) for name in memorised_parts(P, 1)}
            assert found["total entropy"] == pytest.approx(found["expected entropy"] + found["mutual information"])


def test_only_what_t4_predicts_has_a_prediction_and_only_labels_are_judged(small):
    networks = small[small["student"] == "network"]
    assert (networks["statement"] == "").all()
    assert networks.loc[networks["length"] < 1, "predicted"].isna().all()
    assert networks.loc[networks["answered"] != "all", "predicted"].isna().all()
    assert set(small.loc[small["student"] == "the labels", "prompts"]) == {"training"}


def test_rows_are_told_apart_by_the_teachers_answer():
    q = seeds.generator("test", "student output", "answers").dirichlet([1.0] * 3, size=(6, 3))
    labels = np.array([0, 1, 2])  # P is right on the first, wrong on the others
    rows = pd.DataFrame(by_answer(q, P, labels, 1, finished=True))
    accuracy = rows.groupby("answered")["teacher_accuracy"].first()
    assert accuracy.to_dict() == {"all": pytest.approx(1 / 3), "right": 1.0, "wrong": 0.0}
    assert rows.groupby("answered")["rows"].first().to_dict() == {"all": 3, "right": 1, "wrong": 2}
    right = rows[(rows["answered"] == "right") & (rows["quantity"] == "accuracy")]
    assert right["simulated"].iloc[0] == (q[:, 0].argmax(axis=-1) == 0).mean()
    none_wrong = pd.DataFrame(by_answer(q, P, np.zeros(3, dtype=int), 1, finished=True))
    assert set(none_wrong["answered"]) == {"all", "right"}


def test_measure_reports_the_teacher_and_the_students_that_it_trained(monkeypatch):
    """Read off the calls: which network learnt what from whom, and on which prompts it was asked."""
    options = study.options(
        overrides={"data": "wine", "temperatures": 3.0, "ks": 4, "lengths": (), "students": 12, "epochs": 2}
    )
    (cell,) = [cell for cell in module.cells(options) if cell["k"] == 4]
    part = data.split_classes(classes_of(cell))
    calls, fits, train, fit = [], [], module.distill, module.Teacher.fit
    monkeypatch.setattr(module, "distill", lambda *a, **o: calls.append((a, o, train(*a, **o))) or calls[-1][2])
    monkeypatch.setattr(module.Teacher, "fit", lambda *a, **o: fits.append((a, o, fit(*a, **o))) or fits[-1][2])
    with seeds.ledger():
        table = module.measure(cell)
    [(rows, asked, teacher)], [((X, targets), named, students)] = fits, calls
    np.testing.assert_array_equal(rows[0], part.X)
    np.testing.assert_array_equal(rows[1], part.labels)
    assert (asked["temperature"], asked["hidden"], named["hidden"]) == (3.0, module.TEACHER, module.STUDENT)
    assert asked["recipe"].steps == 20 * module.TEACHER_EPOCHS  # 142 rows are 3 batches, STEPS_PER_EPOCH more
    assert named["recipe"].steps == 20 * 2
    np.testing.assert_array_equal(X, part.X)
    for source in ("responses", "initialisation", "order"):
        np.testing.assert_array_equal(getattr(named["seed_design"], source), np.arange(12))
    assert targets.labels.shape == (12, len(part.X), 4)
    for where, at, labels in (("training", part.X, part.labels), ("test", part.X_test, part.labels_test)):
        p, q = teacher.predict_proba(at), students.predict_proba(at)
        here = table[(table["prompts"] == where) & (table["student"] == "network") & (table["answered"] == "all")]
        about, found = here.iloc[0], here.set_index("quantity")["simulated"]
        assert about["teacher_gini"] == pytest.approx(gini(p).mean())
        assert about["teacher_accuracy"] == pytest.approx((p.argmax(axis=1) == labels).mean())
        assert found["intra"] == pytest.approx(gini(q).mean() / gini(p).mean())
        assert found["expected entropy"] == pytest.approx(entropy(q).mean())
        assert found["accuracy"] == pytest.approx((q.argmax(axis=-1) == labels).mean())
    judged_rows = table[table["student"] == "the labels"].set_index("quantity")
    shares = targets.probabilities
    p = teacher.predict_proba(part.X)
    assert judged_rows.loc["intra", "simulated"] == pytest.approx(gini(shares).mean() / gini(p).mean())
    assert judged_rows.loc["expected entropy", "simulated"] == pytest.approx(entropy(shares).mean())
    assert judged_rows.loc["expected entropy", "predicted"] == pytest.approx(memorised_entropy(p, 4).mean())
    off = entropy(shares) - memorised_entropy(p, 4)  # prompt by prompt: T4 holds at each
    assert judged_rows.loc["expected entropy", "standard_error"] == pytest.approx(two_way_standard_error(off))
    assert set(judged_rows["statement"]) == {"T4"}
    assert (judged_rows["z"].abs() < 4.4).all()  # as for a known teacher


def test_no_two_cells_share_a_draw_but_the_teacher():
    options = study.options(
        overrides={"data": "wine", "temperatures": (1.0, 4.0), "ks": (1, 2), "lengths": 0.5, "students": 3, "epochs": 1}
    )
    with seeds.ledger():
        for cell in module.cells(options):
            module.measure(cell)


def test_students_do_not_depend_on_their_chunks(monkeypatch):
    options = study.options(
        overrides={"data": "wine", "temperatures": 4.0, "ks": 2, "lengths": (), "students": 5, "epochs": 1}
    )
    cell = module.cells(options)[0]
    whole = module.measure(cell)
    monkeypatch.setattr(seeds, "CHUNK", 2)
    pd.testing.assert_frame_equal(module.measure(cell), whole, check_exact=True)


def test_cells_are_different_and_plain():
    options = study.options(overrides={"data": "wine", "lengths": (0.1, 1.0), "ks": (1, 4, 1)})
    texts = [json.dumps(cell, sort_keys=True) for cell in module.cells(options)]
    assert len(set(texts)) == len(texts) == 2 * 4  # per temperature: k = 1, 4, soft, and single labels for a tenth


@pytest.mark.parametrize("temperatures", [(1.0, 4.0), 2.0])
def test_a_figure_and_a_caption_of_the_same_numbers(tmp_path, temperatures):
    options = study.options(
        overrides={"data": "wine", "temperatures": temperatures, "ks": (1, 2), "students": 4, "epochs": 3}
    )
    study.main(options, Run(study, Store(tmp_path / "results")))
    assert (tmp_path / "results/figures/student_output.png").is_file()
    about = json.loads((tmp_path / "results/figures/student_output.json").read_text())
    assert about["title"] == study.question
    table = pd.read_csv(tmp_path / "results/tables/student_output.csv")
    hot = table[(table["temperature"] == table["temperature"].max()) & (table["prompts"] == "test")]
    assert f"{value(hot, 'intra', k=1.0):.2f} / {value(hot, 'inter', k=1.0):.2f}" in about["caption"]
    assert f"of the teacher {hot['teacher_accuracy'].iloc[0]:.1%}" in about["caption"]


def test_a_teacher_that_is_certain_everywhere_has_no_shares_but_a_figure(tmp_path):
    options = study.options(overrides={"data": "wine", "temperatures": 0.02, "ks": 1, "students": 3, "epochs": 3})
    study.main(options, Run(study, Store(tmp_path / "results")))
    table = pd.read_csv(tmp_path / "results/tables/student_output.csv")
    assert table.loc[table["quantity"].isin(["intra", "inter", "total"]), "simulated"].isna().all()
    assert table.loc[table["quantity"] == "accuracy", "simulated"].notna().all()
