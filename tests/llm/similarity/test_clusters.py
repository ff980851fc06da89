"""Clusters: what counts as equal, order that changes nothing, entailment by tiny models whose behaviour is known."""

import functools
import itertools

import numpy as np
import pytest
import tiny_models

from uqkd.errors import LibraryError, OptionError, ShapeError
from uqkd.llm.responses import Prompts, Response, Responses
from uqkd.llm.similarity.clusters import cluster, joined, normalise
from uqkd.llm.similarity.entailment import load


@pytest.fixture(scope="module")
def tiny_nli(tmp_path_factory):
    """behaviour -> folder of a model that has it."""

    @functools.cache
    def made(behaviour):
        folder = tmp_path_factory.mktemp(behaviour)
        tiny_models.save_nli(folder, behaviour)
        return str(folder)

    return made


def responses(texts):
    """(S, P, R) texts as Responses."""
    table = np.array(texts, dtype=object)
    names = tuple(f"p{i}" for i in range(table.shape[1]))
    flat = [Response((hash(t) % 97, len(t)), t) for t in table.ravel()]
    return Responses.gather(Prompts(names, names), flat, table.shape)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Paris", " paris. "),
        ("The answer is 1,000.50", "answer is 1000.5"),
        ("ﬁne", "FINE"),
        ("+5", "5.0"),
        ("U.S.A.", "USA"),
        ("5 %", "5%"),
        ("don't", "Don’t"),
        ("A", "(a)."),
    ],
)
def test_what_is_equal_in_normal_form(first, second):
    assert normalise(first) == normalise(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("-5", "5"),
        ("5%", "5"),
        ("1.5", "15"),
        ("C++", "C"),
        ("", "the"),
        ("!", "?"),
        ("$5", "5"),
        ("1,00", "100"),
        ("100", "1"),
    ],
)
def test_what_is_not(first, second):
    assert normalise(first) != normalise(second)


def test_levels_and_numbers_by_hand():
    asked = responses([[["Rome", "rome", "Paris"], ["x", "x", "x"]], [["rome", "Milan", "rome!"], ["y", "x", "x"]]])
    exact = cluster(asked, "exact")
    assert exact.representatives[0] == ("rome", "Milan", "Paris", "Rome", "rome!")
    assert exact.ids[:, 0].tolist() == [[3, 0, 2], [0, 1, 4]]
    normal = cluster(asked)
    assert normal.representatives == (("rome", "Milan", "Paris"), ("x", "y"))
    assert normal.ids.tolist() == [[[0, 0, 2], [0, 0, 0]], [[0, 1, 0], [1, 0, 0]]]


def test_sources_beside_share_the_numbers():
    ours, teacher = responses([[["a1", "b"]], [["b", "c"]]]), responses([[["c", "b", "d"]]])
    found = cluster(ours, "exact", beside=[teacher])
    assert found.representatives[0] == ("b", "c", "a1", "d")
    assert found.ids[:, 0].tolist() == [[2, 0], [0, 1]]
    assert found.beside[0][:, 0].tolist() == [[1, 0, 3]]


def test_token_ids_make_no_difference():
    prompts = Prompts(("a",), ("?",))
    words = (Response((1, 2), "same"), Response((3,), "same"))
    assert cluster(Responses(prompts, words, [[[0, 1]]]), "exact").ids.tolist() == [[[0, 0]]]


def test_order_of_students_and_draws_changes_nothing():
    texts = np.array(["b", "a", "c", "a b", "b c"], dtype=object)
    rng_free = [[texts[(s + r * r) % 5] for r in range(4)] for s in range(3)]

    def overlaps(pairs):  # not transitive: "a b" goes with "a" and with "b", which do not go together
        return np.array([bool(set(p.split()) & set(q.split())) for p, q in pairs])

    whole = responses([[row] for row in rng_free])
    counts = {}
    for row in rng_free:
        for t in row:
            counts[t] = counts.get(t, 0) + 1
    order = sorted(counts, key=lambda t: (-counts[t], t))
    expected = joined([[t] for t in order], overlaps)
    for turned in (whole.index[::-1], whole.index[:, :, ::-1]):
        other = cluster(Responses(whole.prompts, whole.distinct, turned), "exact")
        assert list(other.representatives[0]) == order
        assert joined([[t] for t in other.representatives[0]], overlaps) == expected


def test_greedy_joining_needs_both_directions_and_takes_the_first():
    said = {("x", "y"): True, ("y", "x"): False, ("x", "z"): True, ("z", "x"): True, ("y", "z"): True, ("z", "y"): True}

    def entails(pairs):
        return np.array([said[p] for p in pairs])

    assert joined([["x"], ["y"], ["z"]], entails) == [["x", "z"], ["y"]]
    assert joined([["y"], ["x"], ["z"]], entails) == [["y", "z"], ["x"]]  # a wrong order is seen
    assert joined([["x"]], entails) == [["x"]]


def test_always_and_never_entailing_models(tiny_nli):
    asked = responses([[["rome", "paris", "Rome!"]], [["milan", "rome", "paris"]]])
    one = cluster(asked, "nli", model=tiny_nli("always"))
    assert one.ids.max() == 0
    assert one.representatives == (("rome",),)
    normal = cluster(asked)
    never = cluster(asked, "nli", model=tiny_nli("never"))
    np.testing.assert_array_equal(never.ids, normal.ids)
    assert never.representatives == normal.representatives


def test_a_model_of_random_weights_is_asked_as_it_answers(tiny_nli):
    """Every pair alone, through the model itself, against one batch with padding."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    path = tiny_nli("random")
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(path, local_files_only=True).eval()
    texts = ["rome", "rome paris", "milan is rome", "paris", "is milan paris rome is"]
    pairs = list(itertools.permutations(texts, 2))
    with torch.no_grad():
        direct = [int(model(**tokenizer(a, b, return_tensors="pt")).logits.argmax()) == 1 for a, b in pairs]
    assert load(path)(pairs).tolist() == direct
    assert 0 < sum(direct) < len(direct)  # the test can tell
    asked = responses([[[*texts, "rome"]], [[*texts, "rome"]]])
    found = cluster(asked, "nli", model=path)
    order = ["rome", *sorted(t for t in texts if t != "rome")]
    assert [g[0] for g in joined([[t] for t in order], load(path), prompt="p0")] == list(found.representatives[0])


def test_bad_models_and_options(tiny_nli, tmp_path, monkeypatch):
    asked = responses([[["a", "b"]]])
    with pytest.raises(OptionError, match="'nli' needs model="):
        cluster(asked, "nli")
    with pytest.raises(OptionError, match="the others none"):
        cluster(asked, "exact", model="x")
    with pytest.raises(OptionError, match="did you mean 'normalised'"):
        cluster(asked, "normalized")
    with pytest.raises(ShapeError, match="same prompts"):
        cluster(asked, beside=[responses([[["a"], ["b"]]])])
    with pytest.raises(OptionError, match="one label 'entailment'; got"):
        cluster(asked, "nli", model=tiny_nli("unlabelled"))
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(OptionError, match="pickled weights"):
        cluster(asked, "nli", model=str(tmp_path / "pickled"))
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(LibraryError, match="need transformers"):
        cluster(asked, "nli", model="another")
