"""Weights: each method by hand, laws by every sequence of draws, errors of targets by simulation, independence said."""

import itertools
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from uqkd import seeds
from uqkd.errors import OptionError, ShapeError, VarianceError
from uqkd.estimators import decompose_categorical, gini
from uqkd.llm.bank.stored import Gathering
from uqkd.llm.responses import Prompts, Response, Responses, side_by_side
from uqkd.llm.similarity import similarity as similarity
from uqkd.llm.similarity.embeddings import embed
from uqkd.llm.similarity.similarity import similarities
from uqkd.llm.targets import folds, weigh
from uqkd.llm.targets.precision import _estimates, precision_weight
from uqkd.llm.targets.reranked import spread_weight
from uqkd.theory.statements.medoid import medoid_distribution

WORDS = ("stone", "small stone", "rain", "sea", "rain at sea")
ANSWERS = tuple(Response((i,), word) for i, word in enumerate(WORDS))
P = np.array([0.45, 0.25, 0.15, 0.10, 0.05])
Z = 4.6  # two-sided 4e-6 for each of some twenty simulated statements


def responses(index, distinct=ANSWERS):
    index = np.asarray(index)
    names = tuple(f"p{i}" for i in range(index.shape[1]))
    return Responses(Prompts(names, names), distinct, index)


def shares(targets, classes=5):
    """(S, P, C) weight on each answer."""
    number = np.array([WORDS.index(r.text) for r in targets.responses.distinct])[targets.responses.index]
    return (targets.weights[..., None] * (number[..., None] == np.arange(classes))).sum(axis=2)


def z_of(values, truth=0.0):
    return (values.mean() - truth) / (values.std(ddof=1) / np.sqrt(values.size))


def test_single_and_multi_by_hand():
    drawn = responses([[[0, 2, 2], [1, 1, 3]]])
    single, multi = weigh(drawn, "single"), weigh(drawn, "multi")
    assert single.responses.index.tolist() == [[[0], [1]]]
    np.testing.assert_array_equal(single.weights, 1.0)
    np.testing.assert_allclose(shares(multi), [[[1 / 3, 0, 2 / 3, 0, 0], [0, 2 / 3, 0, 1 / 3, 0]]])
    assert multi.responses is drawn


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("embedding", ["exact", "builtin"])
def test_laws_by_every_sequence_of_draws(k, embedding):
    """One prompt for each sequence: multi keeps p, the central answer has the law of T5, exactly."""
    probs = P[:3] / P[:3].sum()
    every = np.array(list(itertools.product(range(3), repeat=k)))[None]
    chance = np.prod(probs[every[0]], axis=1)
    multi = chance @ shares(weigh(responses(every), "multi"), 3)[0]
    np.testing.assert_allclose(multi, probs, rtol=1e-12)
    kept = chance @ shares(weigh(responses(every), "medoid", embedding=embedding), 3)[0]
    rows = np.eye(3) if embedding == "exact" else embed(WORDS[:3])
    np.testing.assert_allclose(kept, medoid_distribution(probs, k, rows), rtol=1e-12)
    if k <= 2:
        np.testing.assert_allclose(kept, probs, rtol=1e-12)
    else:
        assert np.abs(kept - probs).max() > 0.02  # wrong version: the law is kept


def test_single_memorises_as_t4_says():
    """Students that learn their one response: intra 0, inter G_p."""
    drawn = seeds.generator("test", "single").choice(5, p=P, size=(4, 5_000, 3))
    parts = decompose_categorical(shares(weigh(responses(drawn), "single")))
    np.testing.assert_array_equal(parts.intra, 0.0)
    assert abs(z_of(parts.inter, float(gini(P)))) < Z
    multi = decompose_categorical(shares(weigh(responses(drawn), "multi")))
    assert abs(z_of(multi.inter, float(gini(P)) / 3)) < Z
    assert abs(z_of(multi.inter, float(gini(P)))) > Z
    sharp = decompose_categorical(shares(weigh(responses(drawn), "medoid", embedding="exact")))
    assert abs(z_of(sharp.inter, float(gini(medoid_distribution(P, 3))))) < Z
    assert abs(z_of(sharp.inter, float(gini(P)))) > Z


def test_medoid_takes_the_first_of_equals_and_reads_texts_not_tokens():
    words = (*ANSWERS, Response((9, 9), "rain"))
    drawn = responses([[[3, 2, 5, 0], [1, 0, 4, 3]]], words)
    kept = weigh(drawn, "medoid", embedding="exact").responses
    assert kept.index.tolist() == [[[2], [1]]]  # "rain" twice, under two spellings in tokens; then all once: the first
    assert kept.distinct[2].token_ids == (2,)


def test_medoid_does_not_see_other_students_or_prompts(monkeypatch):
    drawn = responses(seeds.generator("test", "alone").integers(5, size=(3, 40, 6)))
    whole = weigh(drawn, "medoid").responses.index
    for s, p in ((0, 0), (2, 39), (1, 7)):
        alone = weigh(drawn.of_students(s).of_prompts([p]), "medoid").responses.index
        assert alone[0, 0, 0] == whole[s, p, 0]
    monkeypatch.setattr(similarity, "BLOCK_VALUES", 400)  # one prompt at a time
    np.testing.assert_array_equal(weigh(drawn, "medoid").responses.index, whole)
    monkeypatch.setattr(similarity, "FEW_TEXTS", 1)
    np.testing.assert_array_equal(weigh(drawn, "medoid").responses.index, whole)


def stored(texts, ids=None):
    """Distinct responses as a bank holds them: columns."""
    ids = [[n, 2] for n in range(len(texts))] if ids is None else ids
    columns = {"token_ids": pa.array(ids, pa.list_(pa.int32())), "text": texts, "finish_reason": ["stop"] * len(texts)}
    gathering = Gathering()
    return gathering.in_order(gathering.numbers(pa.table(columns)))[0]


def named(count):
    names = tuple(f"p{i}" for i in range(count))
    return Prompts(names, names)


@pytest.mark.parametrize("embedding", ["exact", "builtin"])
def test_block_by_block_is_all_at_once(monkeypatch, embedding):
    """Texts that repeat within and between prompts and sources, held as responses and as a bank's columns."""
    draw = seeds.generator("test", "blocks", shared=True)
    words = [" ".join(draw.choice(WORDS, size=3)) + f" {n // 2}" for n in range(600)]
    ours = draw.integers(400, size=(2, 90, 5)), draw.integers(200, 600, size=(2, 90, 3))
    whole = [responses(index, tuple(Response((n,), word) for n, word in enumerate(words))) for index in ours]
    parts = [Responses(whole[0].prompts, stored(words), index) for index in ours]
    together = {}
    for blocks in (False, True):
        if blocks:
            monkeypatch.setattr(similarity, "MANY_TEXTS", 0)
            monkeypatch.setattr(similarity, "BLOCK_VALUES", 20_000)
        for kind, (first, second) in {"held": whole, "columns": parts}.items():
            together[blocks, kind] = [
                weigh(first, "medoid", embedding=embedding),
                weigh(first, "reranked", second=second, embedding=embedding),
                weigh(first, "precision", second=second, independent=True, embedding=embedding),
            ]
    for found in together.values():
        for one, expected in zip(found, together[False, "held"], strict=True):
            said = [[one.responses.texts(s, p) for p in range(90)] for s in range(2)]
            assert said == [[expected.responses.texts(s, p) for p in range(90)] for s in range(2)]
            # Texts of a prompt are summed in another order: a few roundings of sums of ten shares.
            np.testing.assert_allclose(one.weights, expected.weights, rtol=0, atol=1e-14)


@pytest.mark.parametrize("method", ["single", "multi", "medoid"])
def test_memory_is_that_of_indices_and_weights(monkeypatch, method):
    """Four times as many responses take four arrays of 8 bytes a response more, no texts and no embeddings (2,048 bytes)."""
    monkeypatch.setattr(similarity, "MANY_TEXTS", 100)
    monkeypatch.setattr(similarity, "BLOCK_VALUES", 2**15)
    peaks = []
    for count in (500, 2_000):
        words = (
            f"{n % 20 + 10} of {n // 20 % 20 + 10} of {n // 400 + 10}" for n in range(count * 4)
        )  # of few features
        distinct = stored(list(words))
        drawn = Responses(named(count), distinct, np.arange(count * 4).reshape(1, count, 4))
        weigh(drawn, method)  # what is loaded and kept once
        tracemalloc.start()
        weigh(drawn, method)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] <= 4 * 8 * 1_500 * 4


def test_side_by_side_keeps_each_response_once():
    first = Responses(named(2), stored(["a", "b", "c"]), np.array([[[0, 1], [2, 2]]]))
    second = Responses(named(2), stored(["c", "d", "b"], [[2, 2], [9, 2], [7, 2]]), np.array([[[0], [1]], [[2], [1]]]))
    both = side_by_side(first.of_students([0, 0]), second)
    assert both.index.tolist() == [[[0, 1, 2], [2, 2, 3]], [[0, 1, 4], [2, 2, 3]]]
    expected = (*first.distinct, Response((9,), "d"), Response((7,), "b"))  # "b" of other token ids is another response
    assert tuple(both.distinct) == expected
    assert both.distinct[-1] == expected[-1]
    assert both.distinct[1:4] == expected[1:4]
    with pytest.raises(IndexError):
        both.distinct[5]


def test_alikeness_is_that_of_the_embeddings():
    first, second = responses([[[0, 3], [2, 2]]]), responses([[[1, 4, 0], [2, 0, 1]], [[3, 3, 3], [4, 0, 2]]])
    vectors = embed(WORDS)
    for block in similarities([first, second], "builtin"):
        found = block.between(0, 1)
        for s, p in itertools.product(range(2), range(2)):
            expected = vectors[first.index[0, p]] @ vectors[second.index[s, p]].T
            np.testing.assert_allclose(found[s, p], expected, atol=1e-14)
        np.testing.assert_allclose(block.shares(1).sum(axis=2), 1.0)


def test_reranked_by_hand():
    """Exact texts. Teacher rain, sea, sea, stone: mean (1, 2, 1)/4, variance 1 − 6/16 = .625. Second rain ×3, stone:
    variance 1 − 10/16 = .375. Weight on the teacher .375: rain .375·¼ + .625·¾ beats sea .375·½."""
    teacher, second = responses([[[2, 3, 3, 0]]]), responses([[[2, 2, 2, 0]]])
    assert weigh(teacher, "reranked", second=second, embedding="exact").responses.texts(0, 0) == ["rain"]
    assert weigh(teacher, "medoid", embedding="exact").responses.texts(0, 0) == ["sea"]
    collapsed = responses([[[0, 0, 0, 0]]])  # no spread: all the weight
    assert weigh(teacher, "reranked", second=collapsed, embedding="exact").responses.texts(0, 0) == ["stone"]
    sure = responses([[[3, 3]]])
    assert weigh(sure, "reranked", second=collapsed).responses.texts(0, 0) == ["sea"]  # only the teacher's are kept
    one = weigh(teacher, "reranked", second=second)
    assert one.weights.tolist() == [[[1.0]]]
    np.testing.assert_allclose(spread_weight([0.625], [0.375]), [0.375])


def both_sources(n, key, *, k, m, kind, students=1):
    """Prompts of different laws p, a second source q that is biased, collapsed to the mode, or right."""
    rng = seeds.generator("test", "precision", *key)
    p = rng.dirichlet(np.full(5, 0.6), size=n)
    other = rng.dirichlet(np.full(5, 0.6), size=n)
    q = {"biased": 0.6 * p + 0.4 * other, "collapsed": np.eye(5)[p.argmax(axis=1)], "right": p, "wrong": other}[kind]

    def draw(law, size):
        edges = law.cumsum(axis=1)[None, :, None, :-1]
        return (rng.random((students, n, size, 1)) > edges).sum(axis=-1)

    return p, q, draw(p, k), draw(q, m)


def error_of(targets, p):
    return ((shares(targets) - p) ** 2).sum(axis=-1)[0]


@pytest.mark.parametrize("kind", ["biased", "collapsed", "right", "wrong"])
@pytest.mark.parametrize(("k", "m"), [(2, 8), (4, 4), (8, 8), (3, 1)])
def test_precision_beats_both_sources(kind, k, m):
    """Mean squared error of the target over 3,000 prompts: not above either source's, beyond chance and one in fifty."""
    p, _, ours, theirs = both_sources(3_000, (kind, k, m), k=k, m=m, kind=kind)
    first, second = responses(ours), responses(theirs)
    blended = error_of(weigh(first, "precision", second=second, independent=True, embedding="exact"), p)
    for source in (first, second):
        alone = error_of(weigh(source, "multi"), p)
        gain = alone - blended
        assert gain.mean() > -Z * gain.std() / np.sqrt(len(gain)) - 0.02 * alone.mean()
    if kind == "biased":  # and it is a gain
        assert z_of(error_of(weigh(first, "multi"), p) - blended) > Z
        assert z_of(error_of(weigh(second, "multi"), p) - blended) > Z


def test_precision_with_the_same_draws_is_worse_than_the_teacher_alone():
    p, _, ours, _ = both_sources(3_000, ("same",), k=4, m=4, kind="right")
    pick = seeds.generator("test", "memory").integers(4, size=(1, 3_000, 8))
    memory = responses(np.take_along_axis(ours, pick, axis=2))
    alone = error_of(weigh(responses(ours), "multi"), p)
    blended = error_of(weigh(responses(ours), "precision", second=memory, independent=True, embedding="exact"), p)
    assert z_of(blended - alone) > Z


def test_what_the_weight_rests_on_is_unbiased():
    """Spread and squared error, of all draws and of halves, exactly over every sequence: k = 4 of p, m = 4 of q."""
    p, q = np.array([0.7, 0.3]), np.array([0.4, 0.6])
    every = np.array(list(itertools.product(range(2), repeat=8)))
    chance = np.prod(p[every[:, :4]], axis=1) * np.prod(q[every[:, 4:]], axis=1)
    spread, error = _estimates(responses(every[None, :, :4]), responses(every[None, :, 4:]), "exact")
    assert spread.shape == (1, 17, 256)
    truth = ((q - p) ** 2).sum() + float(gini(q)) / 4
    np.testing.assert_allclose(spread[0] @ chance, float(gini(p)), rtol=1e-12)
    np.testing.assert_allclose(error[0] @ chance, truth, rtol=1e-12)
    plug_in = ((every[:, 4:].mean(axis=1) - every[:, :4].mean(axis=1)) ** 2 * 2) @ chance
    assert abs(plug_in - truth) > 0.1  # the wrong version: the teacher's own noise is not subtracted
    # halves share no draws: their covariance under one law is zero, that of a half with the whole is not
    centred = spread[0] - float(gini(p))
    np.testing.assert_allclose((centred[1] * centred[2]) @ chance, 0.0, atol=1e-15)
    assert (centred[0] * centred[1]) @ chance > 0.01


def test_one_second_response_is_enough_and_one_teacher_response_is_not():
    p, _, ours, theirs = both_sources(500, ("few",), k=2, m=1, kind="biased", students=3)
    first, second = responses(ours), responses(theirs)
    found = precision_weight(first, second)
    assert ((found.alpha > 0) & (found.alpha < 1)).all()
    with pytest.raises(VarianceError, match="k >= 2 responses per prompt"):
        precision_weight(first.first(1), second)
    pooled = precision_weight(first.first(1), second, estimates="pooled")
    assert pooled.alpha.shape == (3, 500)
    # 3 draws a prompt, pooled over 500: v = mean G_p. The estimate's relative sd is about 1/√1500 = 2.6 %.
    assert pooled.teacher_var.mean() == pytest.approx(float(gini(p).mean()), rel=0.1)
    with pytest.raises(VarianceError, match="k=1"):
        precision_weight(first.first(1).of_students(0), second.of_students(0), estimates="pooled")


def test_own_estimates_keep_students_apart_and_pooled_ones_do_not():
    _, _, ours, theirs = both_sources(50, ("apart",), k=4, m=4, kind="biased", students=3)
    first, second = responses(ours), responses(theirs)
    own = precision_weight(first, second).alpha
    np.testing.assert_allclose(own[1], precision_weight(first.of_students(1), second.of_students(1)).alpha[0])
    pooled = precision_weight(first, second, estimates="pooled").alpha
    np.testing.assert_array_equal(pooled[0], pooled[2])
    assert np.abs(own[0] - own[1]).max() > 0.01


def test_notes_and_weights_agree_and_a_shared_second_source_serves_all():
    _, _, ours, theirs = both_sources(20, ("notes",), k=4, m=6, kind="biased", students=2)
    words = tuple(Response((i + 7,), word) for i, word in enumerate(WORDS))  # other token ids: another source's
    second = responses(theirs[:1], words)
    targets = weigh(responses(ours), "precision", second=second, fold=np.arange(20) % 2)
    alpha = np.asarray(targets.notes["alpha"])
    var, mse = (np.asarray(targets.notes[name]) for name in ("teacher_var", "second_mse"))
    np.testing.assert_allclose(alpha, mse / (var + mse))
    np.testing.assert_allclose(targets.weights[..., :4].sum(axis=2), alpha)
    np.testing.assert_allclose(targets.weights[..., 4:], np.repeat(((1 - alpha) / 6)[..., None], 6, axis=2))
    assert len(targets.responses.distinct) == 10
    assert targets.responses.texts(1, 3)[4:] == second.texts(0, 3)


def test_a_certain_teacher_keeps_all_the_weight():
    certain, other = responses(np.zeros((1, 6, 4), dtype=int)), responses(np.full((1, 6, 4), 2))
    np.testing.assert_array_equal(precision_weight(certain, other).alpha, 1.0)
    np.testing.assert_array_equal(precision_weight(certain, certain).alpha, 1.0)  # neither errs


def test_independence_must_be_said():
    drawn = responses(np.zeros((1, 4, 2), dtype=int))
    with pytest.raises(OptionError, match=r"best weight is 0 and the usual one adds variance \(T6\)"):
        weigh(drawn, "precision", second=drawn)
    with pytest.raises(OptionError, match="both fold= and independent=True"):
        weigh(drawn, "precision", second=drawn, fold=[0, 1, 0, 1], independent=True)
    with pytest.raises(OptionError, match="two folds at least"):
        weigh(drawn, "precision", second=drawn, fold=[0, 0, 0, 0])
    with pytest.raises(OptionError, match="P=4 prompts"):
        weigh(drawn, "precision", second=drawn, fold=[0, 1])


def test_bad_input():
    drawn = responses(np.zeros((2, 3, 2), dtype=int))
    with pytest.raises(OptionError, match="did you mean 'medoid'"):
        weigh(drawn, "mediod")
    with pytest.raises(OptionError, match="pass second=, the responses of an undistilled student"):
        weigh(drawn, "reranked")
    with pytest.raises(OptionError, match="leave second= out"):
        weigh(drawn, "medoid", second=drawn)
    with pytest.raises(ShapeError, match="S=2 students or one"):
        weigh(drawn, "reranked", second=responses(np.zeros((3, 3, 2), dtype=int)))
    with pytest.raises(ShapeError, match="got 2 prompts"):
        weigh(drawn, "reranked", second=responses(np.zeros((2, 2, 2), dtype=int)))
    with pytest.raises(OptionError, match="estimates got 'all'"):
        precision_weight(drawn, drawn, estimates="all")


def test_folds_are_balanced_keyed_and_keep_groups_together():
    split = folds(103, 5, ("test", 1))
    assert sorted(np.bincount(split)) == [20, 20, 21, 21, 21]
    np.testing.assert_array_equal(split, folds(103, 5, ("test", 1)))
    assert (split != folds(103, 5, ("test", 2))).any()
    groups = [f"g{i % 17}" for i in range(103)]
    grouped = folds(103, 4, ("test",), groups=groups)
    for name in set(groups):
        assert len({int(f) for f, g in zip(grouped, groups, strict=True) if g == name}) == 1
    sizes = np.bincount(grouped, minlength=4)
    assert sizes.max() - sizes.min() <= 7  # the largest group
    with pytest.raises(OptionError, match="2 <= n <= 3 groups; got n=4"):
        folds(6, 4, ("test",), groups=["a", "b", "c"] * 2)
    with pytest.raises(OptionError, match="2 <= n <= 6 prompts; got n=1"):
        folds(6, 1, ("test",))
    with pytest.raises(ShapeError, match="P=6"):
        folds(6, 2, ("test",), groups=["a"])
