"""Answers of the studies of regressions and networks: they follow their tables, and say otherwise where those do.

Tables are written down, not measured: each study's answer is read off one that agrees with what is known, then off one in which
a sign or a number is another. The answer must change, and the sentence that stood there before must be refused.
"""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uqkd import seeds
from uqkd.report.answers import Answer, measured
from uqkd.report.answers.involved import share
from uqkd.run import load_study
from uqkd.theory import checks

STUDIES = Path(__file__).parents[2] / "studies"


NAMES = (
    *(
        "teacher_noise",
        "response_averaging",
        "variance_weighting",
        "intra_suppression",
        "estimator_bias",
        "comparison_power",
    ),
    *("data_bootstrap", "mlp_teacher_noise", "mlp_response_averaging", "mlp_variance_weighting", "mlp_initialisation"),
    *("mlp_data_bootstrap", "student_output", "uncertainty_budget", "theory_checks"),
)
MODULES = {name: load_study(STUDIES / f"{name}.py").module for name in NAMES}


def module(name):
    return MODULES[name]


def rows(**columns):
    """A row for each combination; one value stands for a list of one."""
    lists = {name: value if isinstance(value, list | tuple) else [value] for name, value in columns.items()}
    return pd.DataFrame(list(product(*lists.values())), columns=list(lists)).assign(data="d", z=0.5)


def exact(table, value, error=0.01):
    """With these estimates; their standard errors are a share of them."""
    found = np.broadcast_to(np.asarray(value, dtype=float), len(table))
    return table.assign(simulated=found, standard_error=np.abs(found) * error)


def teacher_noise(times=1.0, z=0.5):
    quantities = ["mean test error", "inter-student variance"]
    table = rows(alpha=[0.5, 1.0], quantity=quantities, statement="T1").assign(predicted=2.0, z=z)
    return (exact(table, 2.0 * times),)


def response_averaging(floor=0.0, power=-1.0):
    table = exact(rows(alpha=[0.1, 0.5], k=[1, 2, 5, 10, 50]).assign(predicted=lambda t: 1.0 / t["k"]), 1.0)
    table = exact(table, floor + table["k"] ** power, 0.002)
    return table, module("response_averaging").fits(table)


def variance_weighting(known=0.8, equal=0.5, counted=1.5):
    methods = {"fresh, known": known, "fresh, equal": equal, "biased, counted": counted, "biased, ignored": 5.0}
    methods |= {"oracle": 0.3, "same draws": 1.0}
    table = rows(method=list(methods), quantity=["label error", "student error"], k=[2, 50])
    left = np.where(table["quantity"] == "label error", 0.05, table["method"].map(methods))
    return (pd.concat([exact(table, left), exact(table, left).assign(data="e")]),)


def intra_suppression(kept=0.1, z=0.5):
    study = module("intra_suppression")
    table = rows(head=list(study.HEADS), quantity=["intra-student variance", study.COVERAGE], k=10).assign(z=z)
    return exact(table, np.where(table["head"] == "targets", kept, 0.95)), 10


def estimator_bias(few=60.0, z=0.5):
    table = rows(estimator=["plug-in", "unbiased"], responses=[2, 120]).assign(own_over_truth=118.0, z=z)
    plug_in = np.where(table["responses"] == 2, few, 2.0)
    return (exact(table, np.where(table["estimator"] == "plug-in", plug_in, 1.0)),)


def comparison_power(pairs=0.6):
    table = rows(students=[3, 10], pairs=[False, True], difference=[0.0, 0.4, 0.9])
    table = table.assign(correlation=np.where(table["pairs"], 0.7, 0.0), power=0.5 * table["difference"])
    return (table.assign(found=np.where(table["pairs"], pairs, 0.25), standard_error=0.01),)


def data_bootstrap(few=1.8, nothing=1e-30, z=0.5):
    table = rows(labels=["truth", "teacher"], drawn=[30, 3_000]).assign(coefficients=10, predicted=0.5, z=z)
    table["statement"] = np.where((table["drawn"] > 2_000) & (table["labels"] == "truth"), "T9", "")
    excess = np.where(table["drawn"] == 30, few, 1.0)
    return (exact(table, np.where(table["labels"] == "truth", 0.5 * excess, nothing)),)


def mlp_teacher_noise(high=11.0):
    study, table = module("mlp_teacher_noise"), rows(free=["all", "responses"], alpha=[0.0, 0.1, 2.0])
    table = table[(table["alpha"] > 0) | (table["free"] == "all")].assign(least_squares=lambda t: 0.03 * t["alpha"])
    table = exact(table, 0.006 + table["least_squares"] * np.where(table["alpha"] == 2.0, high, 7.0))
    return table, study.amplified(table)


def mlp_response_averaging(silent=0.006, bend=1.5, floor=0.006):
    table = rows(alpha=[0.0, 0.1, 1.0], k=[1, 2, 5, 12, 20, 50])
    table = table[(table["alpha"] > 0) | (table["k"] == 1)].assign(least_squares=lambda t: 0.03 * t["alpha"] / t["k"])
    noise = table["alpha"] / table["k"]
    law = floor + 0.2 * noise * np.where(noise > 0.1, bend, 1.0)
    table = exact(table, np.where(table["alpha"] == 0, silent, law))
    return table, module("mlp_response_averaging").fits(table)


def mlp_variance_weighting(same=1.1, counted=0.65, double=0.63):
    study = module("mlp_variance_weighting")
    table = rows(method=list(study.METHODS), quantity=["label error", "student error"], k=[2, 50], alpha=0.5)
    left = (
        table["method"].map({"fresh, bias counted": counted, "average of 2k": double, "same draws": same}).fillna(1.0)
    )
    left = np.where((table["quantity"] == "label error") & (table["method"] != "average"), 0.2, left)
    left = np.where((table["k"] == 2) & (table["method"] == "same draws"), 0.8, left)
    return (study.relative_to(exact(table, left), ["data", "alpha", "k", "quantity"], method="average"),)


def mlp_initialisation(small=54.0, large=0.01):
    table = rows(quantity=["answers", "0.weight"], perturbation=[-1.0, 0.001, 2.0]).assign(after=0.006, after_se=0.0001)
    table["ratio"] = table["perturbation"].map({-1.0: 0.07, 0.001: small, 2.0: large})
    return (table.assign(ratio_se=0.05 * table["ratio"]),)


def mlp_data_bootstrap(left=0.6):
    table = rows(labels=["truth", "teacher"], vary=["both", "rows", "begin"], fraction=[0.5, 1.0])
    table = table[(table["vary"] != "begin") | (table["fraction"] == 1.0)]
    table = table.assign(drawn=100 * table["fraction"])
    return (exact(table, np.where(table["labels"] == "teacher", 0.3 * left, 0.3), 0.02),)


def student_output(kappa=1.0, off=0.9, few=0.02):
    table = rows(prompts=["training", "test"], quantity=["intra", "inter", "total"], k=[1.0, 32.0, np.inf])
    table = table.assign(temperature=4.0, student="network", answered="all", length=1.0, students=20)
    value = np.where(table["quantity"] == "inter", 0.1, np.where(table["k"] == 1, few, 0.98))
    value = np.where(table["quantity"] == "total", np.where(table["prompts"] == "test", off, kappa), value)
    return (exact(table, value),)


def uncertainty_budget(responses=0.8):
    effects = ["responses", "initialisation", "order", "bootstrap", "responses:bootstrap", "residual"]
    table = rows(effect=effects, k=[1, 20], alpha=0.5, quantity="component")
    estimate = np.where(table["effect"] == "responses", responses, 0.04)
    return (table.assign(estimate=estimate, low=0.9 * estimate, high=1.1 * estimate),)


def theory_checks(rejected=True, held=True):
    names = list(checks.register())
    true = pd.DataFrame({"check": names, "version": "theory", "rejected": False, "statement": "T1", "z": 0.5})
    true.loc[0, "rejected"] = not held
    wrong = pd.DataFrame({"check": names[:3], "version": "wrong", "rejected": [True, True, rejected], "z": 9.0})
    return (pd.concat([true, wrong.assign(statement="")]),)


CASES = [  # the study's table as it should be and what its answer then says, the change and what it says after it
    (teacher_noise, "as T1 and T2 say", {"z": 9.0}, "not as T1 and T2 say"),
    (teacher_noise, "theory 1.000 [", {"times": 1.3}, "theory 1.300 ["),
    (response_averaging, "all of it: any floor is below 0.", {"floor": 0.2}, "all of it but a floor, 20"),
    (response_averaging, "falls as 1/k", {"power": -0.5}, "falls not as 1/k"),
    (variance_weighting, "and for the student distilled from it (20 %", {"known": 1.2}, "not for the student"),
    (variance_weighting, "less than with equal", {"equal": 0.9}, "no less than with equal"),
    (variance_weighting, "hurts, even when its bias is counted", {"counted": 0.8}, "hurts unless its bias is counted"),
    (intra_suppression, "a k-th of the teacher's variance: at k = 10", {"z": 9.0}, "not what T3 says"),
    (intra_suppression, "keep 10.0 % [", {"kept": 0.9}, "keep 90.0 % ["),
    (estimator_bias, "no: student means vary by 60 times", {"few": 1.0}, "student means cannot be told from the truth"),
    (estimator_bias, "is right on average", {"z": -9.0}, "is not right either"),
    (comparison_power, "smaller differences: 10 pairs", {"pairs": 0.1}, "less than they do: 10 pairs"),
    (comparison_power, "(2.4 [", {"pairs": 0.25}, "nothing that is sure"),
    (data_bootstrap, "students vary by +80 % [", {"few": 0.7}, "students vary by −30 % ["),
    (data_bootstrap, "nothing with the teacher's", {"nothing": 0.01}, "something even with the teacher's"),
    (data_bootstrap, "from 200 on as it says", {"z": 9.0}, "from 200 on not as it says"),
    (mlp_teacher_noise, ": more than linearly", {"high": 3.0}, ": less than linearly"),
    (mlp_teacher_noise, "11.0 [", {"high": 7.0}, ", linearly as far as can be told"),
    (mlp_response_averaging, "the floors of T8 agree", {"floor": 0.02}, "the floors of T8 do not agree"),
    (mlp_response_averaging, ", faster where it is larger", {"bend": 0.5}, ", otherwise where it is larger"),
    (mlp_response_averaging, "vary by 0.0060 [", {"silent": 0.009}, "vary by 0.0090 ["),
    (mlp_variance_weighting, "hurts at 50 (1.10 ± ", {"same": 0.9}, "helps at 50 (0.90 ± "),
    (mlp_variance_weighting, "hurts at 50", {"same": 1.02}, "makes no sure difference at 50 (1.02 ± "),
    (mlp_variance_weighting, "nowhere less than averaging 2k", {"counted": 0.3}, "at some k less than averaging 2k"),
    (mlp_initialisation, "grows small differences", {"small": 0.5}, "shrinks small differences"),
    (mlp_initialisation, "shrinks large ones", {"large": 1.0}, "changes, if at all, large ones"),
    (mlp_data_bootstrap, "leave 60 % [", {"left": 1.5}, "make more of it than ground truth (150 % ["),
    (mlp_data_bootstrap, "of the variance that ground", {"left": 1.0}, "as far as can be told"),
    (student_output, "the rest moves between", {"kappa": 0.7}, "not all of the rest moves between"),
    (student_output, "students are biased", {"off": 1.0}, "students are not shown to be biased"),
    (student_output, "2 % when it memorises", {"few": 0.5}, "50 % when it memorises"),
    (uncertainty_budget, "are part of 88 % of it", {"responses": 0.1}, "are part of 60 % of it"),
    (theory_checks, "all rejected", {"rejected": False}, "rejected but for 1"),
    (theory_checks, "the statements hold (largest", {"held": False}, "the statements but for 1 hold"),
]


@pytest.mark.parametrize(("study", "says", "change", "then"), CASES, ids=[f"{c[0].__name__}-{c[3]}" for c in CASES])
def test_the_answer_follows_the_table(study, says, change, then):
    before, after = (module(study.__name__).answer(*study(**how)) for how in ({}, change))
    assert says in before.text
    assert then in after.text
    assert before.differences(before.text) == []
    assert after.differences(before.text)


def test_numbers_within_the_limits_of_another_run_pass():
    """A run whose estimates are a third of an interval off carries the sentence; one that is two intervals off does not."""
    (table,) = teacher_noise()
    before = module("teacher_noise").answer(table)
    near, far = (exact(table, 2.0 * (1.0 + off)) for off in (0.004, 0.03))
    assert module("teacher_noise").answer(near).differences(before.text) == []
    (difference,) = module("teacher_noise").answer(far).differences(before.text)
    assert difference.startswith("share: 1.000 is said")


CHOSEN = {
    "n",
    "k",
    "few",
    "many",
    "count",
    "correlation",
    "difference",
    "few_rows",
    "from",
    "small",
    "checks",
    "wrong",
    "failed",
}
CHOSEN |= {
    "kept",
    "statements",
    "allowed",
    "k_many",
    "k_few",
    "k_last",
    "alpha_low",
    "alpha_high",
    "level_small",
    "level_large",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_measured_has_limits(name):
    """Only what was chosen, or counted of things that do not change, has none."""
    for of, number in MODULES[name].answer(*globals()[name]()).numbers.items():
        exactly = number.low == number.high
        assert exactly == (
            of in CHOSEN and (name, of) not in {("data_bootstrap", "few"), ("data_bootstrap", "many")}
        ), of


ODD = [  # what options of one's own leave out of a table
    (teacher_noise, lambda t: t.assign(statement="")),
    (variance_weighting, lambda t: t[t["data"] == "d"]),
    (estimator_bias, lambda t: t[t["responses"] == 2]),
    (data_bootstrap, lambda t: t.assign(statement="")),
    (data_bootstrap, lambda t: t.assign(z=np.nan)),
    (mlp_variance_weighting, lambda t: t[t["method"].isin(["average", "oracle"])]),
    (mlp_initialisation, lambda t: t[t["perturbation"] < 1.0]),
    (mlp_data_bootstrap, lambda t: t[t["fraction"] == 1.0]),
    (student_output, lambda t: t[t["k"] != 32.0]),
    (student_output, lambda t: t.assign(standard_error=np.nan)),
    (uncertainty_budget, lambda t: t[t["k"] == 1]),
    (intra_suppression, lambda t: t.assign(z=np.nan)),
    (intra_suppression, lambda t: t.assign(standard_error=0.0)),
    (estimator_bias, lambda t: t.assign(z=np.nan)),
]


@pytest.mark.parametrize(("study", "without"), ODD, ids=[f"{odd[0].__name__}-{i}" for i, odd in enumerate(ODD)])
def test_what_options_leave_out_is_not_said(study, without):
    table, *others = study()
    found = module(study.__name__).answer(without(table), *others)
    assert found is None or found.differences(found.text) == []


def test_an_answer_without_a_needed_number_is_none():
    assert measured.stated("{a}", {"a": None}) is None
    assert measured.stated("all", {"a": None}) == Answer("all", {})
    (table,) = teacher_noise()
    assert module("teacher_noise").answer(table.assign(statement="")) is None  # nothing judged: no noise at all


def test_shares_of_a_sum_cover_what_their_parts_allow():
    """Parts known to ± 10 % of themselves: the share of one of two equal parts lies between 0.9/2 and 1.1/2."""
    found = share([1.0, 1.0], [0.9, 0.9], [1.1, 1.1], [True, False])
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.9 / 2.0, 1.1 / 2.0))
    assert share([1.0, -1.0], [0.9, -1.1], [1.1, -0.9], [True, False]) is None


@pytest.mark.parametrize("n", [1, 7, 126])
def test_the_largest_of_true_comparisons_keeps_its_limits(n):
    """Of 20,000 experiments with normal z of which all are true, one in a thousand is outside: 20 ± 4.5; 45 is 5.6 off."""
    largest = np.abs(seeds.generator("test", "largest", n).standard_normal((20_000, n))).max(axis=1)
    limits = measured.largest_z(np.append(np.zeros(n - 1), np.median(largest)))
    outside = int(((largest < limits.low) | (largest > limits.high)).sum())
    assert 1 <= outside <= 45
