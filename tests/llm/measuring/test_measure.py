"""What a run measures: each quantity by hand or against its estimator, known laws by simulation, wrong versions told apart."""

import math

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.estimators import compare, decompose_agreement, decompose_variance, gini, gini_from_draws
from uqkd.estimators.variance.two_way import two_way_standard_error
from uqkd.llm.measuring import COLUMNS, HeldOut, estimate
from uqkd.llm.measuring.errors import correlation_values, given_by, grade, ratio, true_distributions
from uqkd.llm.measuring.spreads import components_beside
from uqkd.llm.measuring.tables.printing import lines
from uqkd.llm.responses import Prompts, Response, Responses
from uqkd.llm.similarity import similarity as similarity
from uqkd.llm.similarity.embeddings import embed

WORDS = ("stone", "small stone", "rain", "sea", "rain at sea")
P = np.array([0.45, 0.25, 0.15, 0.10, 0.05])
Z = 4.6  # two-sided 4e-6 for each of some fifteen simulated statements


def responses(index, answers=(), *, words=WORDS, cut=()):
    index = np.asarray(index)
    names = tuple(f"p{i}" for i in range(index.shape[1]))
    distinct = tuple(Response((i,), word, i not in cut) for i, word in enumerate(words))
    return Responses(Prompts(names, names, answers), distinct, index)


@pytest.mark.parametrize("embedding", ["builtin", "exact"])
def test_components_are_those_of_the_array_that_is_not_built(embedding, monkeypatch):
    drawn = responses(seeds.generator("test", "embedded").integers(5, size=(4, 30, 5)))
    rows = embed(WORDS) if embedding == "builtin" else np.eye(5)
    expected = decompose_variance(rows[drawn.index])
    for block in (2**21, 600):
        monkeypatch.setattr(similarity, "BLOCK_VALUES", block)
        found = components_beside(drawn, (), embedding)[0]
        for name in ("inter", "intra", "total", "per_student_inter", "per_student_intra"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-13)
    if embedding == "exact":
        np.testing.assert_allclose(found.inter, decompose_agreement(drawn.index).inter, atol=1e-13)


def test_needs_two_students_and_two_responses():
    with pytest.raises(ShapeError, match=r"got \(S=1, R=2\)"):
        components_beside(responses([[[0, 1]]]), (), "builtin")
    with pytest.raises(ShapeError, match="R >= 2"):
        estimate(responses([[[0]], [[1]]]))


def worlds(n, key, *, sharpen=False):
    """Students (4, n, 6) that memorise two draws of P each (or of its square), a teacher (1, n, 6), and answers."""
    rng = seeds.generator("test", "measure", *key)
    law = P**2 / (P @ P) if sharpen else P
    memory = rng.choice(5, p=law, size=(4, n, 2))
    drawn = np.take_along_axis(memory, rng.integers(2, size=(4, n, 6)), axis=2)
    answers = (WORDS,) * n
    return responses(drawn, answers), responses(rng.choice(5, p=P, size=(1, n, 6)), answers)


def test_known_laws_by_simulation():
    """T4 at k = 2: intra = inter = G_p/2, κ = 1, no bias, distance G_p/2 from teacher and truth alike."""
    n, spread = 3_000, float(gini(P))
    found = estimate(*worlds(n, ("right",)), probabilities=[tuple(P)] * n, embedding="exact")
    stated = {
        "intra_gini": spread / 2,
        "inter_gini": spread / 2,
        "total_gini": spread,
        "inter_variance": spread / 2,
        "teacher_gini": spread,
        "kappa": 1.0,
        "distance_from_teacher": spread / 2,
        "bias_from_teacher": 0.0,
        "distance_from_truth": spread / 2,
        "bias_from_truth": 0.0,
    }
    for name, truth in stated.items():
        value, error = found.of(name)
        assert 0 < error < 0.05, name
        assert abs(value - truth) < Z * error, name
    # Wrong versions: no memorising; everything between; the teacher's variance for the distance.
    for name, truth in (("intra_gini", spread), ("inter_gini", spread), ("distance_from_truth", spread / 6)):
        value, error = found.of(name)
        assert abs(value - truth) > Z * error


def test_students_sharpened_towards_the_mode_are_seen():
    found = estimate(*worlds(3_000, ("sharp",), sharpen=True), probabilities=[tuple(P)] * 3_000)
    sharp = P**2 / (P @ P)
    for name, truth in (("bias_from_truth", float(((sharp - P) ** 2).sum())), ("kappa", float(gini(sharp) / gini(P)))):
        value, error = found.of(name)
        assert abs(value - truth) < Z * error
    assert found.of("kappa")[0] < 1 - Z * found.of("kappa")[1]
    assert found.of("bias_from_teacher")[0] > Z * found.of("bias_from_teacher")[1]


def test_a_teacher_whose_draws_the_students_memorised_looks_too_near():
    """Why the teacher's draws must be others: students of the same two draws seem to err by less than G_p/2."""
    rng = seeds.generator("test", "measure", "same")
    memory = rng.choice(5, p=P, size=(4, 2_000, 2))
    drawn = np.take_along_axis(memory, rng.integers(2, size=(4, 2_000, 6)), axis=2)
    found = estimate(responses(drawn), responses(memory))
    value, error = found.of("distance_from_teacher")
    assert value < float(gini(P)) / 2 - Z * error


def test_entropies_add_up_and_name_their_rule():
    students, _ = worlds(40, ("entropy",))
    found = estimate(students)
    for rule in ("plug_in", "chao_shen"):
        total, intra, inter = (found.of(f"{name}_entropy_{rule}")[0] for name in ("total", "intra", "inter"))
        assert total == pytest.approx(intra + inter, rel=1e-12)
    row = found.row("inter_entropy_chao_shen")
    assert (row["note"], row["unit"]) == ("chao-shen", "nats")
    assert found.of("total_entropy_chao_shen")[0] > found.of("total_entropy_plug_in")[0]


ASKED = Prompts(("a", "b"), ("?", "!"), (("Rome",), ("sea", "The Rain!")))
SAID = tuple(Response((i,), w) for i, w in enumerate(["Rome", "rome.", "Milan", "rain", "fog", "Turin"]))


def test_marks_and_accuracy_by_hand():
    ours, theirs = grade(
        Responses(ASKED, SAID, [[[0, 1, 2], [3, 4, 4]], [[2, 5, 0], [4, 3, 2]]]),
        Responses(ASKED, SAID, [[[2, 0], [4, 4]]]),
    )
    assert ours.supported.tolist() == [
        [[True, True, False], [True, False, False]],
        [[False, False, True], [False, True, False]],
    ]
    np.testing.assert_allclose(ours.wrong, [[1 / 3, 2 / 3], [2 / 3, 2 / 3]])
    # Rome twice (two spellings): right. fog twice: wrong. Three different answers, one of them right: a third.
    np.testing.assert_allclose(ours.accuracy(), [[1, 0], [1 / 3, 1 / 3]])
    # wrong answers: Milan | fog, fog | Milan, Turin | fog, Milan; the teacher said Milan to a and fog to b: 5 of 7
    assert ratio(given_by(ours, theirs), ours.wrong)[0] == pytest.approx(5 / 7)


def test_rows_of_answers_count_the_prompts_that_have_some():
    prompts = Prompts(("a", "b", "c"), ("?", "!", "."), (("Rome",), (), ("fog",)))
    students = Responses(prompts, SAID, [[[0, 1], [2, 2], [3, 4]], [[2, 5], [3, 3], [4, 4]], [[0, 0], [1, 1], [4, 3]]])
    found = estimate(students)
    columns = found.quantities
    counts = dict(zip(columns["quantity"], columns["n_prompts"], strict=True))
    assert (counts["unsupported"], counts["inter_gini"]) == (2, 3)
    assert found.of("unsupported")[0] == pytest.approx((0 + 1 + 0 + 0.5 + 0 + 0.5) / 6)
    assert [math.isnan(u) for u in found.prompts["unsupported"]] == [i == "b" for i in found.prompts["prompt_id"]]
    assert set(columns) == set(COLUMNS)
    assert len({len(c) for c in columns.values()}) == 1
    with pytest.raises(DataError, match="'kappa' was not measured"):
        found.of("kappa")


def test_cut_responses_are_counted():
    found = estimate(responses([[[0, 1], [1, 1]], [[0, 0], [2, 0]]], cut=(1,)))
    assert found.of("length_cut")[0] == 3 / 8


def test_prompts_where_students_differ_come_first():
    """a: each student sure of its own; b: all unsure alike; c: all sure of the same."""
    index = [
        [[0] * 6, [0, 1, 2, 3, 4, 0], [2] * 6],
        [[1] * 6, [4, 3, 2, 1, 0, 0], [2] * 6],
        [[3] * 6, [0, 1, 2, 3, 4, 0], [2] * 6],
    ]
    found = estimate(responses(index)).prompts
    assert found["prompt_id"][0] == "p0"
    assert found["answer"][found["prompt_id"].index("p2")] == "rain"
    assert found["inter_gini"][0] == 1.0
    unsure = found["prompt_id"].index("p1")
    assert found["intra_entropy"][unsure] > 1.5
    assert found["inter_entropy"][unsure] <= 0.0 < found["inter_entropy"][0]


def errors(n, key, *, students=4, responses_each=3, k=4):
    """Graded sources with error rates a_p (students) and b_p (teacher) that correlate by a half."""
    rng = seeds.generator("test", "errors", *key)
    both, own, other = rng.random((3, n))
    ours, theirs = (both + own) / 2, (both + other) / 2
    index = (rng.random((students, n, responses_each)) < ours[None, :, None]).astype(int)
    teacher = (rng.random((1, n, k)) < theirs[None, :, None]).astype(int)
    answers = (("right",),) * n
    return grade(*(responses(i, answers, words=("right", "wrong")) for i in (index, teacher)))


def error_correlation(students, teacher):
    """The correlation and its standard error, NaN where there is none."""
    found, _ = correlation_values(students, teacher)
    return (math.nan, math.nan) if found is None else (found[0], two_way_standard_error(found[1][None]))


def test_correlation_of_errors_is_cleared_of_noise():
    ours, theirs = errors(20_000, ("one",))
    value, error = error_correlation(ours, theirs)
    assert abs(value - 0.5) < Z * error < 0.15
    naive = np.corrcoef(ours.wrong.mean(axis=0), theirs.wrong.mean(axis=0))[0, 1]
    assert abs(naive - 0.5) > Z * error  # wrong version: noise left in
    swapped = error_correlation(ours, grade(responses(theirs.form[:, ::-1], (("0",),) * 20_000, words=("0", "1")))[0])
    assert abs(swapped[0]) < Z * swapped[1]  # another prompt's teacher has nothing to do with it


def test_standard_error_of_the_correlation():
    """200 repetitions of 400 prompts: the sd of the estimate against the stated error, a ratio known to 5 %: four of it."""
    found = np.array([error_correlation(*errors(400, ("se", i))) for i in range(200)])
    assert abs(np.sqrt((found[:, 1] ** 2).mean()) / found[:, 0].std(ddof=1) - 1) < 4 * 0.05


def test_what_cannot_be_estimated_is_nan_and_not_a_number_of_some_kind():
    ours, theirs = errors(2, ("few",))
    assert all(math.isnan(v) for v in error_correlation(ours, theirs))
    certain = grade(responses(np.zeros((2, 5, 2), dtype=int), (("right",),) * 5, words=("right",)))[0]
    assert all(math.isnan(v) for v in error_correlation(certain, certain))
    assert all(math.isnan(v) for v in ratio(given_by(certain, certain), certain.wrong))
    assert math.isnan(
        estimate(responses(np.zeros((2, 2, 2), dtype=int)), responses(np.zeros((1, 2, 2), dtype=int))).of("kappa")[0]
    )


def test_ratio_by_hand():
    value, error = ratio(np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([[2.0, 4.0], [6.0, 4.0]]))
    assert (value, error) == (0.5, 0.0)


def test_truth_adds_answers_of_one_cluster():
    prompts = Prompts(("a", "b"), ("?", "!"), (("Rome", "rome", "Milan"), ("x",)))
    known = true_distributions(prompts, np.array([[0, 0, 2], [1, 1, 1]]), [[0.2, 0.3, 0.5], [1.0]])
    np.testing.assert_allclose(known, [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    students, _ = worlds(3, ("bad",))
    for wrong in ([(0.5, 0.5)] * 3, [(0.5, 0.5, 0.2, 0.0, -0.2)] * 3, [(0.3,) * 5] * 3):
        with pytest.raises(DataError, match="probabilities of prompt 'p0'"):
            estimate(students, probabilities=wrong)
    with pytest.raises(DataError, match="one row for each of P=3"):
        estimate(students, probabilities=[tuple(P)])
    with pytest.raises(DataError, match="no prompt that has reference answers"):
        estimate(students, probabilities=[()] * 3)


def test_bad_input():
    students, teacher = worlds(3, ("bad input",))
    with pytest.raises(ShapeError, match="same order"):
        estimate(students, teacher.of_prompts([2, 1, 0]))
    with pytest.raises(OptionError, match="how got 'semantic'"):
        estimate(students, clusters="semantic")
    with pytest.raises(ShapeError, match="k >= 2"):
        estimate(students, teacher.first(1))


def every(found):
    columns = found.quantities
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def shown_without_nan(found):
    """Whatever is missing has its reason, and no line shows a nan."""
    for row in every(found):
        missing = [name for name in ("estimate", "standard_error") if math.isnan(row[name])]
        assert row["why"] or not missing, (row["quantity"], missing)
        assert math.isnan(row["low"]) == math.isnan(row["high"])
    assert "nan" not in "\n".join(lines(found)).lower()


def test_two_students_say_what_cannot_be_estimated_from_a_pair():
    """R14: `± nan` without a word."""
    students, teacher = worlds(40, ("pair",))
    found = estimate(students.of_students([0, 1]), teacher, probabilities=[tuple(P)] * 40)
    shown_without_nan(found)
    pair = decompose_agreement(students.of_students([0, 1]).index)
    row = found.row("inter_gini")
    assert (row["over"], row["estimate"]) == ("prompts", pytest.approx(pair.inter.mean()))
    assert row["standard_error"] == pytest.approx(pair.inter.std(ddof=1) / math.sqrt(40))
    assert "takes 3 students" in row["why"]
    for name in ("kappa", "bias_from_teacher", "bias_from_truth", "total_variance", "inter_entropy_chao_shen"):
        assert found.row(name)["over"] == "prompts"
        assert found.of(name)[1] > 0
    assert found.row("intra_gini")["over"] == "students, prompts"
    three = estimate(students.of_students([0, 1, 2]))
    assert {row["over"] for row in every(three)} == {"students, prompts"}


@pytest.mark.slow
def test_the_interval_of_a_pair_is_that_of_these_two_over_prompts():
    """400 pairs of fixed students, P = 60 prompts each: 95 % of intervals hold the pair's own truth; 91 to 99 % is 4 sd."""
    inside = 0
    for trial in range(400):
        rng = seeds.generator("test", "measure", "pair", trial)
        own = rng.dirichlet(np.ones(5), size=2)  # what the two always say, whatever the prompt
        drawn = np.stack([rng.choice(5, p=q, size=(60, 6)) for q in own])
        row = estimate(responses(drawn), embedding="exact", clusters="exact").row("inter_gini")
        truth = ((own[0] - own[1]) ** 2).sum() / 2
        inside += row["low"] <= truth <= row["high"]
    assert 0.91 < inside / 400 < 0.99


def test_the_undistilled_student_stands_beside_the_students_prompt_by_prompt():
    students, teacher = worlds(30, ("beside",))
    base = responses(seeds.generator("test", "base").integers(5, size=(1, 30, 4)), (WORDS,) * 30, cut=(4,))
    alone = estimate(students, teacher, probabilities=[tuple(P)] * 30)
    found = estimate(students, teacher, undistilled=base, probabilities=[tuple(P)] * 30)
    for name in found.quantities["quantity"]:
        assert found.of(name) == pytest.approx(alone.of(name), abs=1e-12, nan_ok=True), name
    own = gini_from_draws(base.index[0])
    row = found.row("intra_gini")
    assert row["undistilled"] == pytest.approx(own.mean())
    assert row["undistilled_standard_error"] == pytest.approx(own.std(ddof=1) / math.sqrt(30))
    assert row["change"] == pytest.approx(row["estimate"] - own.mean())
    apart = decompose_agreement(students.index).per_student_intra - own
    paired = compare(apart, np.zeros_like(apart))  # as any two methods of the same seeds and prompts
    shown = tuple(row[f"change_{name}"] for name in ("low", "high", "standard_error"))
    assert shown == pytest.approx((paired.low, paired.high, paired.standard_error))
    cut = (base.index[0] == 4).mean()
    assert found.row("length_cut")["undistilled"] == pytest.approx(cut)
    squared = sum(1.0 - own - 2 * (base.index[0][:, :, None] == teacher.index[0][:, None]).mean((1, 2)) + 1.0
                  - gini_from_draws(teacher.index[0])) / 30  # fmt: skip
    assert found.row("distance_from_teacher")["undistilled"] == pytest.approx(squared)
    assert found.row("kappa")["undistilled"] == pytest.approx(own.mean() / gini_from_draws(teacher.index[0]).mean())
    for name in ("inter_gini", "bias_from_teacher", "teacher_gini"):  # of one model there is no such thing
        assert math.isnan(found.row(name)["undistilled"])
    each = dict(zip(found.students["student"], found.students["quantity"], strict=True))
    assert set(each) == {"0", "1", "2", "3", "undistilled"}
    shown_without_nan(found)


def test_an_undistilled_student_of_other_prompts_or_of_several_is_refused():
    students, _ = worlds(3, ("others",))
    with pytest.raises(ShapeError, match="undistilled student must have answered"):
        estimate(students, undistilled=students.of_students([0]).of_prompts([2, 1, 0]))
    with pytest.raises(ShapeError, match="one undistilled student; got responses of 4"):
        estimate(students, undistilled=students)
    with pytest.raises(ShapeError, match="undistilled student needs R >= 2"):
        estimate(students, undistilled=students.of_students([0]).first(1))


def test_what_was_never_or_always_seen_has_a_bound_and_not_zero():
    """20 prompts, one trial each: 1 - .05 ** (1 / 20) = .139; of what students differ in 3 trials, as they may be all alike."""
    found = estimate(responses(np.zeros((3, 20, 4), dtype=int), (("sea",),) * 20))
    bound = 1 - 0.05 ** (1 / 20)
    for name, low, high in (
        ("unsupported", 1 - bound, 1),
        ("accuracy", 0, bound),
        ("intra_gini", 0, 1 - 0.05 ** (1 / 3)),
    ):
        row = found.row(name)
        assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))
        assert "one-sided bound" in row["why"]
        assert math.isnan(row["standard_error"])
    assert found.row("inter_gini")["why"] == "no variation: nothing to estimate a standard error from"
    assert (found.row("inter_gini")["low"], found.row("inter_gini")["high"]) == (0, pytest.approx(1 - 0.05 ** (2 / 3)))
    shown_without_nan(found)


def test_entropies_that_only_tell_how_many_were_drawn_say_so():
    texts = [str(i) for i in range(3 * 4 * 5)]
    index = np.arange(60).reshape(3, 4, 5)
    found = estimate(responses(index, words=texts))
    assert "100% of the students' 5 answers" in found.row("inter_entropy_plug_in")["why"]
    assert "answers" not in estimate(worlds(5, ("few",))[0]).row("inter_entropy_plug_in")["why"]


def test_losses_are_ratios_of_nats_and_tokens():
    students, _ = worlds(4, ("loss",))
    nats, tokens = np.array([[8.0, 6.0, 2.0, 4.0]] * 4) + np.arange(4)[:, None], np.array([[4.0, 3.0, 1.0, 2.0]] * 4)
    found = estimate(students, held_out=HeldOut(nats, tokens, 2 * nats[0], "note"))
    row = found.row("held_out_loss")
    assert (row["estimate"], row["unit"]) == (pytest.approx(nats.sum() / tokens.sum()), "nats a token")
    assert (row["undistilled"], row["change"]) == (pytest.approx(4.0), pytest.approx(nats.sum() / tokens.sum() - 4.0))
    own = [
        value
        for quantity, value in zip(found.students["quantity"], found.students["estimate"], strict=True)
        if quantity == "held_out_loss"
    ]
    assert own == pytest.approx([2.0, 2.4, 2.8, 3.2, 4.0])
    assert any(line.startswith("held_out_loss") and line.endswith("nats a token") for line in lines(found))
    shown_without_nan(found)
