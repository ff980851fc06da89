"""The studies of classifiers: each runs on a small bed, and what they make of their tables is right, not nearly right."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.rated_files import rated_file
from uqkd import data, seeds
from uqkd.classify import METHODS
from uqkd.errors import OptionError
from uqkd.run import Run, load_study
from uqkd.store import Store
from uqkd.testbeds.cells import task_of

STUDIES = Path(__file__).parents[2] / "studies"
SMALL = {"students": 1, "replicates": 2, "steps": 60, "batch": 16}
NETWORKS = {"teachers": ["perceptron:8", "convolutional:2"], "student": "perceptron:8"}
PERCEPTRONS = {"images": ["perceptron:8", "perceptron:8"]}
OPTIONS = {
    "classify_targets": {
        "classes": [4], "noise": [0.0, 0.2], "rows": 80, "steps": 30, "replicates": 2, "transformer_classes": [4],
        "transformer_steps": 5,
    },
    "classify_cud": {
        "tasks": ["digits"], **PERCEPTRONS, "temperatures": [1.0, 2.0], "weights": [1.0], **SMALL,
    },
    "classify_mixup": {"temperatures": [1.0, "std"], **NETWORKS, **SMALL},
    "classify_calibration": {"sharpness": [1.0, 3.0], **NETWORKS, **SMALL},
    "classify_temperature": {
        "teacher": "perceptron:8", "student": "perceptron:8", "temperatures": [1.0, 4.0], **SMALL,
    },
    "classify_pairs": {"floors": [0.0, 0.5, 1.0], **NETWORKS, **SMALL},
    "classify_variance": {"tasks": ["digits"], **PERCEPTRONS, **SMALL, "students": 3},
    "classify_shift": {"tasks": ["digits"], "ratios": [1.0, 4.0], **PERCEPTRONS, **SMALL},
    "classify_human": {
        "dimensions": 6, "teacher": "perceptron:4", "student": "perceptron:3", "replicates": 2, "temperatures": [1.0, 2.0],
        "weights": [1.0], "lengths": [20], "steps": 30, "batch": 16,
    },
}  # fmt: skip


def modules(name):
    return load_study(STUDIES / f"{name}.py").module


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_every_study_runs_and_draws(name, tmp_path):
    study = load_study(STUDIES / f"{name}.py")
    store = Store(str(tmp_path))
    rated = {"ratings": [str(rated_file(tmp_path))]} if name == "classify_human" else {}
    study.main(study.options("quick", {**OPTIONS[name], **rated}), Run(study, store))
    assert (tmp_path / f"figures/{name}.png").stat().st_size > 10_000
    table = pd.read_csv(tmp_path / f"tables/{name}.csv")
    value = table["kl" if name == "classify_targets" else "value"]
    assert np.isfinite(value).mean() > 0.9
    about = json.loads((tmp_path / f"figures/{name}.json").read_text())
    assert "nan" not in (about["caption"] + about["answer"]["text"]).lower()
    assert len(about["answer"]["text"].split()) <= 75


def test_every_study_of_classifiers_is_run_here():
    assert set(OPTIONS) == {path.stem for path in STUDIES.glob("classify_*.py")}


def test_students_mixed_with_the_labels_alone_know_nothing_of_the_teacher():
    """c = 1 makes the targets those of mixup with labels: students of any teacher, who begin alike, are then the same."""
    pairs = modules("classify_pairs")
    options = pairs.Options.model_validate({"floors": [1.0], **NETWORKS, **SMALL})
    first, second = (pairs.measure(cell) for cell in pairs.cells(options)[::2])
    for who, same in (("student", True), ("teacher", False)):
        one, two = (t.query(f"who == '{who}' and measure == 'nll'")["value"].tolist() for t in (first, second))
        assert (one == pytest.approx(two, rel=1e-4)) == same  # single precision, in another order


MIXUP = ["data", "teacher", "method", "temperature", "replicate", "who", "student", "measure", "value"]
SPREAD = np.array([-0.15, -0.05, 0.05, 0.15])  # of four teachers


def mixup_rows(measure, centres, of_teacher, spread=SPREAD):
    """Two students of each of four teachers; methods differ by numbers that depend on the teacher."""
    rows = []
    for n, (method, centre) in enumerate(centres.items()):
        for replicate, e in enumerate(spread):
            for s, own in enumerate((-0.5, 0.5)):
                value = centre + 10 * replicate + e * (n + 1) + own
                rows.append(("d", "T", method, "1.0", replicate, "student", s, measure, value))
            rows.append(("d", "T", method, "1.0", replicate, "teacher", 0, measure, of_teacher + 10 * replicate))
    return rows


def test_mixup_is_held_against_each_reference_teacher_by_teacher():
    """By hand: teachers 10 apart, methods 1 and 2 apart give or take a spread that belongs to the teacher."""
    mixup = modules("classify_mixup")
    centres = {"CE": 5.0, "CE + mixup": 1.0, "KD": 3.0, "KD + mixup": 2.0}
    table = pd.DataFrame([row for m in mixup.SHOWN for row in mixup_rows(m, centres, 2.05)], columns=MIXUP)
    each = mixup.means(table)
    assert set(each.loc[each["method"].str.startswith("CE"), "teacher"]) == {"none"}
    claims = mixup.compared(each).query("measure == 'nonlinearity'").set_index("against")
    assert claims["sign"].to_dict() == {
        "KD": "below", "CE + mixup": "above", "the teacher": "undecided", "mixup of labels, less labels": "below",
    }  # fmt: skip
    error = np.std(SPREAD, ddof=1) / 2
    for against, difference, times in (("KD", -1.0, 1), ("CE + mixup", 1.0, 2), ("the teacher", -0.05, 4)):
        assert claims.loc[against, "difference"] == pytest.approx(difference)
        # of four teachers, whatever the spread between them, and whatever that of the two students of each
        assert claims.loc[against, "half_width"] == pytest.approx(stats.t.ppf(0.975, 3) * times * error)
    text = mixup.answer(mixup.compared(each)).text
    assert "more linear than their teacher in 0 of 1 settings" in text
    assert "than plain distillation's in 1 (less so in 0)" in text
    flipped = table.assign(value=-table["value"])
    assert "than plain distillation's in 0 (less so in 1)" in mixup.answer(mixup.compared(mixup.means(flipped))).text


def test_what_all_teachers_agree_on_to_the_digit_is_undecided():
    mixup = modules("classify_mixup")
    centres = {"CE": 0.9, "CE + mixup": 0.9, "KD": 0.8, "KD + mixup": 0.9}
    table = pd.DataFrame([row for m in mixup.SHOWN for row in mixup_rows(m, centres, 0.7, np.zeros(4))], columns=MIXUP)
    table["value"] = table["method"].map(centres).where(table["who"] == "student", 0.7)
    claims = mixup.compared(mixup.means(table))
    assert (claims["half_width"] == 0).all()
    assert set(claims["sign"]) == {"undecided"}


@pytest.mark.parametrize("methods", [["teacher"], ["W-Clip"], ["labels", "teacher, temperature"]])
def test_some_parts_of_cud_alone_are_compared_with_plain_distillation(methods, tmp_path):
    study = load_study(STUDIES / "classify_cud.py")
    options = study.options("quick", {**OPTIONS["classify_cud"], "methods": methods, "temperatures": [1.0]})
    study.main(options, Run(study, Store(str(tmp_path))))
    table = pd.read_csv(tmp_path / "tables/classify_cud.csv")
    assert list(table["method"].unique()) == list(dict.fromkeys(["teacher", *methods]))
    caption = (tmp_path / "figures/classify_cud.json").read_text()
    assert ("W-Clip changes" in caption) == ("W-Clip" in methods)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("classify_cud", {"methods": ["W-clip"]}, "method got 'W-clip'; did you mean 'W-Clip'"),
        ("classify_cud", {"rates": [0.0, 0.01]}, "rates.0.*greater than 0"),
        ("classify_cud", {"images": ["perceptron:8"]}, "images.1.*required"),
        ("classify_variance", {"tasks": ["a/x.npz", "b/x.npz"]}, "'x.npz' comes twice"),
        ("classify_mixup", {"temperatures": ["foo"]}, "temperatures.0"),
        ("classify_mixup", {"temperatures": [0.0]}, "temperatures.0"),
        ("classify_pairs", {"lr": -1.0}, "lr.*greater than 0"),
    ],
)
def test_options_that_mean_nothing_are_refused_before_any_work(name, changed, message):
    with pytest.raises(OptionError, match=message):
        load_study(STUDIES / f"{name}.py").options("quick", changed)


@pytest.mark.parametrize("name", ["classify_mixup", "classify_calibration", "classify_temperature", "classify_pairs"])
def test_texts_cannot_be_mixed_and_are_refused_before_any_work(name):
    study = load_study(STUDIES / f"{name}.py")
    with pytest.raises(OptionError, match="holds texts"):
        study.module.cells(study.options("quick", {"task": "intents:6"}))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("classify_cud", {"images": ["convolutional:16", "perceptrn:20"]}),
        ("classify_variance", {"texts": ["bag:64", "perceptrn:20"]}),
        ("classify_shift", {"texts": ["bagg:64", "bag:4"]}),
        ("classify_mixup", {"student": "perceptrn:20"}),
        ("classify_calibration", {"teachers": ["perceptrn:20"]}),
        ("classify_pairs", {"student": "perceptrn:20"}),
        ("classify_temperature", {"teacher": "perceptrn:20"}),
    ],
)
def test_misspelt_networks_are_refused_before_any_work(name, changed):
    study = load_study(STUDIES / f"{name}.py")
    with pytest.raises(OptionError, match="perceptrn:20|bagg:64"):
        study.module.cells(study.options("quick", changed))


def test_tasks_are_read_and_trained_by_their_kind(tmp_path):
    rng = seeds.generator("test", "classify studies", "kinds")
    np.savez(tmp_path / "own.npz", images=rng.random((60, 1, 6, 6)), labels=np.arange(60) % 3)
    variance = modules("classify_variance")
    options = variance.Options.model_validate(
        {
            "tasks": [str(tmp_path / "own.npz"), "intents:6"],
            "images": ["perceptron:4", "perceptron:2"],
            "size": 4,
            **SMALL,
            "students": 3,
        }
    )
    cells = variance.cells(options)
    own, texts = ([cell for cell in cells if cell["kind"] == kind] for kind in ("images", "texts"))
    assert {(cell["networks"], cell["lr"]) for cell in own} == {(("perceptron:4", "perceptron:2"), 3e-3)}
    assert {(cell["networks"], cell["lr"]) for cell in texts} == {(("bag:64", "bag:32"), 1e-2)}
    assert task_of(own[0]).X.shape[1:] == (1, 4, 4)
    assert [cell["replicate"] for cell in own] == [cell["replicate"] for cell in texts] == [0, 1]


def shift_rows(*, better=1.0):
    """Five teachers: bounded entropy .1 below plain distillation, or above, give or take .003 in one part and .3 in the other."""
    turn, rows = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) / 2**0.5, []
    for method, less in (("teacher", 0.0), ("groups, entropy", 0.1 * better), ("DUS + W-Clip", 0.0)):
        for part, error in (("as trained", 0.003), ("noise", 0.3), ("ambiguous", 0.003)):
            for replicate, e in enumerate(turn):
                about = {
                    "data": "d",
                    "ratio": 1.0,
                    "method": method,
                    "part": part,
                    "replicate": replicate,
                    "who": "student",
                }
                own = (method != "teacher") * error * e
                for measure in ("kl",) if part == "ambiguous" else ("ece", "accuracy"):
                    gap = -less if measure == "accuracy" else less
                    rows.append({**about, "student": 0, "measure": measure, "value": replicate - gap + own})
        for replicate, e in enumerate(turn):
            about = {"data": "d", "ratio": 1.0, "method": method, "part": "class by class", "replicate": replicate}
            for c, gap in enumerate((-0.4, 0.0)):
                value = 0.5 + (method == "groups, entropy") * (gap + 0.01 * e)
                rows.append({**about, "who": "student", "student": 0, "measure": f"class {c}", "value": value})
    return pd.DataFrame(rows)


def test_shifts_are_told_beyond_intervals_over_teachers_only():
    shift = modules("classify_shift")
    found = shift.means(shift_rows())
    told = shift.caption(found, shift.Options())
    assert (
        "'groups, entropy' ECE lower in 1 and higher in 0 of 2, accuracy lower in 0 and higher in 1 of 2, "
        "KL to the truth lower in 1 and higher in 0 of 1" in told
    )
    assert "'groups, entropy' 0 better and 1 worse" in told
    text = shift.answer(found).text
    assert text.startswith("groups, bounded entropy without a sure price")
    assert "ECE falls in 1 of 2 parts (rises in 0)" in text
    other = shift.answer(shift.means(shift_rows(better=-1.0))).text
    assert other.startswith("none without a price")
    assert "ECE falls in 0 of 2 parts (rises in 1)" in other
    assert "accuracy in 1, by " in other


def test_a_gap_that_is_inherited_has_slope_one_and_one_that_is_halved_has_not():
    """Slopes of the students of three teachers: exactly 1, and .5, .6 and .7."""
    calibration = modules("classify_calibration")
    rows = []
    for sharpness, gap in ((1.0, 0.1), (2.0, -0.1), (3.0, -0.3)):
        for method, replicate in product(("KD", "KD + mixup"), range(3)):
            own = gap + 0.01 * replicate
            slope = 1.0 if method == "KD" else 0.5 + 0.1 * replicate
            about = ("d", "T", method, sharpness, replicate)
            rows.append((*about, "teacher", 0, "signed_gap", own))
            rows += [(*about, "student", s, "signed_gap", slope * own + 0.01 * (2 * s - 1)) for s in range(2)]
    names = ["data", "teacher", "method", "sharpness", "replicate", "who", "student", "measure", "value"]
    each = calibration.by_teacher(pd.DataFrame(rows, columns=names), calibration.BY)
    slopes = calibration.slopes(each).set_index("method")
    assert slopes.loc["KD", "slope"] == pytest.approx(1.0)
    assert slopes.loc["KD", "half_width"] == pytest.approx(0.0, abs=1e-12)
    assert slopes.loc["KD + mixup", "slope"] == pytest.approx(0.6)
    assert slopes.loc["KD + mixup", "half_width"] == pytest.approx(stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3))
    text = calibration.answer(calibration.means(each), slopes.reset_index()).text
    assert text.startswith(
        "in part: the slope of its gap (confidence − accuracy) on that of teachers of equal accuracy is 0.60 to 1.00"
    )
    kept = calibration.answer(calibration.means(each), slopes.loc[["KD"]].reset_index()).text
    assert kept.startswith("nearly whole")


def test_settings_are_chosen_by_held_out_rows_and_by_nothing_of_the_test_part():
    """The better on held-out rows is the worse on the test; the second teacher's students are best at the other temperature."""
    cud = modules("classify_cud")
    rows = []
    for replicate, temperature, held, test in (
        (0, 1.0, 0.5, 0.1),
        (0, 2.0, 0.4, 0.9),
        (1, 1.0, 0.4, 0.9),
        (1, 2.0, 0.5, 0.1),
    ):
        for measure, value in (("nll_held", held), ("nll", test)):
            about = ("d", "teacher", temperature, 1.0, replicate, "student")
            rows += [(*about, s, measure, value + 0.01 * s) for s in range(2)]
    names = ["data", "method", "temperature", "weight", "replicate", "who", "student", "measure", "value"]
    best = cud.chosen(pd.DataFrame(rows, columns=names))
    assert best.groupby("replicate")["temperature"].unique().map(list).to_dict() == {0: [2.0], 1: [1.0]}


def cud_table(gain):
    """Four teachers; W-Clip's accuracy differs from plain distillation's by a gain, give or take .001."""
    rows = []
    for method, extra in (("teacher", 0.0), ("W-Clip", gain), ("DUS + W-Clip", -0.02)):
        for replicate, e in enumerate((-1.0, 0.0, 0.5, 1.0)):
            about = {
                "data": "d",
                "method": method,
                "temperature": 1.0,
                "weight": 1.0,
                "replicate": replicate,
                "fired": 0.07,
            }
            for measure, sign in (("accuracy", 1), ("nll", -1), ("nll_scaled", -1), ("ece", -1), ("nll_held", -1)):
                value = 0.5 + 0.1 * replicate + sign * (extra + 0.001 * e * (method != "teacher"))
                about |= {"training_accuracy": 0.9, "measure": measure, "student": 0}
                rows += [{**about, "who": who, "value": value} for who in ("student", "teacher")]
    return pd.DataFrame(rows)


def test_the_answer_on_cud_follows_the_sign_of_its_gains():
    cud = modules("classify_cud")
    texts = {gain: cud.answer(cud.means(cud.chosen(cud_table(gain)))).text for gain in (0.02, -0.02)}
    assert texts[0.02].startswith("accuracy on d: clipping changes 7 % of the rows of d, accuracy by +2.0 ± 0.1 points")
    assert texts[-0.02].startswith(
        "no gain in accuracy that is told from zero: clipping changes 7 % of the rows of d, accuracy by −2.0 ± 0.1"
    )
    assert all(text.endswith("a loss on d") for text in texts.values())


def test_differences_of_targets_are_taken_teacher_by_teacher():
    """Two teachers far apart, W-Clip always .1 worse: the difference is .1 without error, whatever the teachers' spread."""
    targets = modules("classify_targets")
    rows = [
        {
            "teacher": "b",
            "classes": 2,
            "noise": 0.0,
            "truth": "the class",
            "method": m,
            "replicate": r,
            "kl": 5.0 * r + extra,
            "fired": 0.0,
        }
        for r in range(2)
        for m, extra in (("teacher", 1.0), ("W-Clip", 1.1))
    ]
    found = targets.means(pd.DataFrame(rows)).set_index("method")
    assert found.loc["W-Clip", "difference"] == pytest.approx(0.1)
    assert found.loc["W-Clip", "difference_se"] == pytest.approx(0.0, abs=1e-12)
    assert found.loc["W-Clip", "kl_se"] == pytest.approx(2.5)


def test_trends_are_per_doubling_and_over_teachers():
    """Two teachers, whose students' ECE rises by .01 and by .02 per doubling, and scatters about it within each."""
    temperature = modules("classify_temperature")
    rows = [
        ("d", "KD", t, replicate, "student", s, "ece", 0.01 * (replicate + 1) * np.log2(t) + 0.5 * (s - 1))
        for t in (0.5, 1.0, 2.0, 8.0)
        for replicate in range(2)
        for s in range(3)
    ]
    rows += [("d", "KD", t, r, "teacher", 0, "ece", 0.1 * r) for t in (0.5, 1.0, 2.0, 8.0) for r in range(2)]
    columns = ["data", "method", "temperature", "replicate", "who", "student", "measure", "value"]
    each = temperature.by_teacher(pd.DataFrame(rows, columns=columns), temperature.BY)
    trend = temperature.trends(each).iloc[0]
    assert trend["per_doubling"] == pytest.approx(0.015)
    assert trend["half_width"] == pytest.approx(stats.t.ppf(0.975, 1) * 0.005)
    found = temperature.over_teachers(each, temperature.BY).set_index("temperature").loc[8.0]
    assert (found["value"], found["teachers"]) == (pytest.approx(0.045), 2)
    assert found["of_teacher"] == pytest.approx(0.05)
    assert found["half_width"] == pytest.approx(stats.t.ppf(0.975, 1) * 0.015)


def test_targets_of_the_known_world_are_held_against_its_own_posterior():
    """The teacher of a large training part without overlap is near the truth; labels drawn at random are not."""
    targets = modules("classify_targets")
    base = {"classes": (4,), "overlap": 0.0, "rows": 600, "steps": 150, "replicates": 2, "transformer_classes": ()}
    clean, noisy = targets.cells(targets.Options.model_validate({**base, "noise": (0.0, 0.3)}))[::2]
    near, far = (targets.measure(cell).query("method == 'teacher'").set_index("truth")["kl"] for cell in (clean, noisy))
    assert near["the class"] == near["the label"]  # without noise they are one truth
    assert near["the class"] < 0.1 < far["the class"]  # an intent is told from its words; three labels in ten are wrong


def test_images_shuffled_alike_keep_their_pixels_and_words_at_random_their_lengths():
    shift = modules("classify_shift")
    digits, texts = data.load_task("digits"), data.load_task("intents:6")
    moved = shift.elsewhere(digits)
    assert moved.shape == digits.X_test.shape
    assert np.array_equal(np.sort(moved.reshape(len(moved), -1)), np.sort(digits.X_test.reshape(len(moved), -1)))
    assert not np.array_equal(moved, digits.X_test)
    words = shift.elsewhere(texts)
    assert np.array_equal(words == texts.pad, texts.X_test == texts.pad)
    assert words.max() < texts.vocabulary


def test_methods_named_by_the_studies_exist():
    cud, shift = modules("classify_cud"), modules("classify_shift")
    assert set(cud.Options().methods) <= set(METHODS)
    assert set(shift.METHODS) - {"teacher, mixup"} <= set(METHODS)
