"""Answers of the studies of classifiers: a sign that flips in the table flips the words."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uqkd.run import load_study

STUDIES = Path(__file__).parents[2] / "studies"
TURN = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])  # of five teachers


def module(name):
    return load_study(STUDIES / f"{name}.py").module


def temperatures(sign):
    """Per doubling accuracy falls by .2 ± .02 points and confidence rises by .5 ± .05, or the contrary; mixup halves both."""
    rows = []
    for method, t, (replicate, e) in product(("KD", "KD + mixup", "KD + mixup + CE"), (1.0, 2.0, 4.0), enumerate(TURN)):
        part = sign * np.log2(t) / (1 if method == "KD" else 2) * (1 + 0.1 * e) / 100
        right, sure = 0.9 + 0.01 * replicate - 0.2 * part, 0.8 + 0.5 * part
        found = {"accuracy": right, "signed_gap": sure - right, "ece": 0.1 + part, "ece_scaled": 0.05 + 0.001 * e * t}
        for measure, value in found.items():
            about = {"data": "d", "method": method, "temperature": t, "measure": measure, "replicate": replicate}
            rows.append({**about, "value": value})
    return pd.DataFrame(rows)


def test_the_temperature_trades_accuracy_for_confidence_which_is_not_the_gap():
    study = module("classify_temperature")
    answer = study.answer(temperatures(1.0))
    assert answer.text.startswith(
        "from T = 1 to 4 accuracy falls (−0.4 ± 0.0 points) and confidence rises (+1.0 ± 0.1, of which +0.5"
    )
    assert "confidence − accuracy +1.4 ± 0.1); mixup softens it (+0.10 ± 0.01" in answer.text
    assert answer.numbers["confidence_plain"].value == pytest.approx(0.5)
    assert answer.numbers["signed_gap_plain"].value == pytest.approx(0.7)
    other = study.answer(temperatures(-1.0)).text
    assert "accuracy rises" in other
    assert "confidence falls" in other
    assert "mixup sharpens it" in other


def test_without_a_temperature_of_one_there_is_no_answer():
    table = temperatures(1.0)
    assert module("classify_temperature").answer(table[table["temperature"] != 1.0]) is None


def targets(sign):
    rows = []
    gains = {
        "teacher": 0.0,
        "teacher, temperature": -0.1 * sign,
        "W-Clip": 0.1,
        "DUS": 0.1,
        "DUS + W-Clip": 0.1,
        "groups, entropy": 0.0,
    }
    for method, classes, (replicate, e) in product(gains, (4, 8), enumerate(TURN)):
        about = {"teacher": "bag of words", "classes": classes, "noise": 0.0, "truth": "the class", "method": method}
        kl = 1.0 + replicate + gains[method] + 0.01 * e * (method != "teacher")
        rows.append({**about, "replicate": replicate, "kl": kl, "fired": 0.05})
    return pd.DataFrame(rows)


def test_targets_that_are_nearer_in_every_setting_are_named():
    study = module("classify_targets")
    said = {sign: study.answer(study.means(targets(sign))).text for sign in (1.0, -1.0)}
    assert said[1.0].startswith(
        "without label noise the teacher at an out-of-fold temperature: temperature nearer in 2 of 2"
    )
    assert said[-1.0].startswith(
        "without label noise none always: temperature nearer in 0 of 2 settings (farther in 2)"
    )
    assert "wrong labels" not in said[1.0]  # none was asked for


def variances(sign):
    rows = []
    study = module("classify_variance")
    for method, (replicate, e) in product(study.TOLD.values(), enumerate(TURN)):
        between = (
            0.2
            + sign * {"1 sampled label": 0.1, "groups, entropy": -0.1}.get(method, 0.0)
            + 0.01 * e * (method != "teacher")
        )
        for measure, value in (
            ("within one student", 1.3 + 0.01 * e),
            ("between students", between + 0.001 * replicate),
        ):
            about = {"data": "d", "method": method, "measure": measure, "replicate": replicate, "teacher_gini": 0.3}
            rows.append({**about, "value": value})
    return pd.DataFrame(rows)


def test_what_moves_more_and_less_is_said_by_intervals():
    study = module("classify_variance")
    said = {sign: study.answer(study.means(variances(sign))).text for sign in (1.0, -1.0)}
    assert said[1.0].startswith("more than all of it")
    assert "one sampled label moves more" in said[1.0]
    assert "bounded entropy less" in said[1.0]
    assert "one sampled label moves less" in said[-1.0]
    assert "bounded entropy more" in said[-1.0]


def pairs(sign):
    rows = []
    for floor, (replicate, e) in product((0.0, 0.5, 1.0), enumerate(TURN)):
        found = {
            "nonlinearity": 0.5 - 0.3 * sign * floor, "off_pair_mass": 0.1, "signed_gap": -0.1 * sign * floor, "accuracy": 0.9,
            "nll_scaled": 0.3 + sign * (floor - 0.5) ** 2,
        }  # fmt: skip
        for measure, value in found.items():
            value += 0.01 * (1 + floor) * e
            about = {"data": "d", "teacher": "T", "floor": floor, "replicate": replicate, "measure": measure}
            rows.append({**about, "value": value, "students": 1, "of_teacher": 0.0})
    return pd.DataFrame(rows)


def test_the_floor_between_is_held_against_both_ends():
    study = module("classify_pairs")
    said = {sign: study.answer(pairs(sign)).text for sign in (1.0, -1.0)}
    assert "students at c = 1 are more linear than at c = 0" in said[1.0]
    assert "less confident" in said[1.0]
    assert "at c = 0.5 is better than at c = 0 (NLL −0.250 ± 0.005) and better than at c = 1 (−0.250 ± " in said[1.0]
    assert "are less linear than at c = 0" in said[-1.0]
    assert "more confident" in said[-1.0]
    assert "at c = 0.5 is worse than at c = 0" in said[-1.0]
    assert "and worse than at c = 1" in said[-1.0]


def human(sign):
    study, rows = module("classify_human"), []
    for name, group, other, method in product(
        "ab", ("all", "ambiguous"), ("teacher", "teacher, temperature"), study.STUDENTS
    ):
        near = group == "ambiguous" and method == study.CUD
        about = {"data": name, "rule": "labels", "group": group, "measure": "kl", "other": other, "method": method}
        rows.append(
            {**about, "difference": -0.1 * sign * near, "difference_half_width": 0.02, "p_holm": 0.001 if near else 0.9}
        )
    return pd.DataFrame(rows)


def test_people_who_disagree_are_told_by_the_sign_of_the_difference():
    study = module("classify_human")
    said = {sign: study.answer(human(sign)).text for sign in (1.0, -1.0)}
    assert said[1.0].startswith("where people disagree")
    assert f"over all texts 0 (a), 0 (b) of {len(study.STUDENTS) - 2} come nearer" in said[1.0]
    assert "on the most divided third 1, 1, CUD by −0.100 ± 0.020, −0.100 ± 0.020 nats" in said[1.0]
    assert said[1.0].endswith("nearer on a (−0.100 ± 0.020), nearer on b (−0.100 ± 0.020)")
    assert said[-1.0].startswith("none: over all texts 0 (a), 0 (b)")
    assert said[-1.0].endswith("farther on a (+0.100 ± 0.020), farther on b (+0.100 ± 0.020)")
