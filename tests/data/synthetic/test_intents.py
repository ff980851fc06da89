"""Generated intents: the posterior against enumeration and against what is drawn; label noise; tokens.

False alarms: each simulated check compares its largest |z| with the two-sided normal quantile of ALPHA over its comparisons, so
with fresh keys it fails wrongly with probability 1e-4; the keys are fixed. Sizes are such that every wrong version is far out.
"""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy import stats

from uqkd import data
from uqkd.data import IntentWorld
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.seeds import ledger

ALPHA = 1e-4


def limit(comparisons):
    return float(stats.norm.isf(ALPHA / comparisons / 2))


# A tiny world in eighths, so that its joint table can be counted exactly: the third word is one that all intents use.
EIGHTHS = {"a": (4, 0, 2, 2), "b": (1, 3, 3, 1), "c": (1, 3, 2, 2)}
PRIOR = {"a": Fraction(1, 2), "b": Fraction(1, 3), "c": Fraction(1, 6)}
SHARED = 2


@pytest.fixture(scope="module")
def tiny_world():
    return IntentWorld(
        vocabulary=("w", "x", "y", "z"),
        classes=tuple(EIGHTHS),
        families=np.array([0, 0, 1]),
        prior=np.array([float(p) for p in PRIOR.values()]),
        word_probs=np.array(list(EIGHTHS.values())) / 8,
        lengths=(1, 2),
    )


def counted(words, *, prior=PRIOR, power=lambda place: 1, skip=()):
    """P(class | words) from the joint table, in fractions; the options make it wrong."""
    joint = {}
    for name, eighths in EIGHTHS.items():
        share = prior[name]
        for place, word in enumerate(words):
            if word not in skip:
                share *= Fraction(eighths[word], 8) ** power(place)
        joint[name] = share
    return [float(share / sum(joint.values())) for share in joint.values()]


def every_text():
    return [*product(range(4), repeat=1), *product(range(4), repeat=2)]


def table(texts):
    return np.array([[*text, *[-1] * (2 - len(text))] for text in texts])


def test_posterior_is_that_of_the_joint_table(tiny_world):
    texts = every_text()
    expected = [counted(text) for text in texts]
    by_number = tiny_world.posterior(table(texts))
    np.testing.assert_allclose(by_number, expected, rtol=1e-12, atol=0)  # five roundings of logarithms
    by_text = tiny_world.posterior([" ".join(tiny_world.vocabulary[w] for w in text) for text in texts])
    np.testing.assert_array_equal(by_text, by_number)
    assert (by_number[1] == [0, *by_number[1, 1:]]).all()  # a word that an intent never uses rules it out


@pytest.mark.parametrize(
    ("wrong", "options"),
    {
        "prior ignored": {"prior": dict.fromkeys(EIGHTHS, Fraction(1, 3))},
        "order counts": {"power": lambda place: 1 + place},
        "shared word forgotten": {"skip": (SHARED,)},
    }.items(),
)
def test_wrong_posteriors_are_rejected_by_the_joint_table(tiny_world, wrong, options):
    found = tiny_world.posterior(table(every_text()))
    assert np.abs(found - [counted(text, **options) for text in every_text()]).max() > 0.05, wrong


def test_texts_are_drawn_with_the_probabilities_of_the_joint_table(tiny_world):
    """20 texts × 3 intents; in 60,000 a length that is a tenth too likely is 9 standard errors out."""
    n = 60_000
    drawn = tiny_world.draw(n, key=("tests", "joint"))
    z, skewed = [], []
    for place, (name, eighths) in enumerate(EIGHTHS.items()):
        for text in every_text():
            share = float(PRIOR[name] / 2 * np.prod([Fraction(eighths[word], 8) for word in text]))
            row = np.array([*text, *[-1] * (2 - len(text))])
            seen = ((drawn.words == row).all(axis=1) & (drawn.labels == place)).sum()
            if share == 0:
                assert seen == 0
            else:
                z.append((seen - n * share) / np.sqrt(n * share * (1 - share)))
                longer = share * (1.1 if len(text) == 2 else 0.9)  # one length a little more likely than the other
                skewed.append((seen - n * longer) / np.sqrt(n * longer * (1 - longer)))
    assert np.abs(z).max() < limit(len(z))
    assert np.abs(skewed).max() > limit(len(z)) + 3


@pytest.fixture(scope="module")
def world():
    prior = np.linspace(1, 3, 10)
    return IntentWorld.make(classes=10, family=5, overlap=0.6, key=("tests", "intents"), prior=prior.tolist())


@pytest.fixture(scope="module")
def drawn(world):
    return world.draw(40_000, key=("tests", "calibration"))


def calibration_z(posterior, labels):
    """Labels against the posterior: per class, per tenth of the largest probability, and their mean log-likelihood."""
    n, classes = posterior.shape
    hit = np.eye(classes)[labels]
    top = posterior.argmax(axis=1)
    rows = np.arange(n)
    tenth = np.minimum((posterior[rows, top] * 10).astype(int), 9)
    pairs = [(hit[:, c], posterior[:, c]) for c in range(classes)]
    pairs += [
        (hit[rows, top][tenth == t], posterior[rows, top][tenth == t]) for t in range(10) if (tenth == t).sum() > 99
    ]
    z = [(seen - p).sum() / np.sqrt((p * (1 - p)).sum()) for seen, p in pairs]
    logs = np.log(posterior)
    expected = (posterior * logs).sum(axis=1)
    spread = (posterior * logs**2).sum(axis=1) - expected**2
    return np.array([*z, (logs[rows, labels] - expected).sum() / np.sqrt(spread.sum())])


def test_labels_of_drawn_texts_are_as_frequent_as_the_posterior_says(world, drawn):
    z = calibration_z(world.posterior(drawn.words), drawn.labels)
    assert len(z) > 15
    assert np.abs(z).max() < limit(len(z))


def softmax(logs):
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def order_counts(world, words):
    logs = np.vstack([np.log(world.word_probs.T), np.zeros(len(world.classes))])
    return softmax(np.log(world.prior) + sum(logs[c] * (1.2 if place < 3 else 0.9) for place, c in enumerate(words.T)))


def repeated_words_once(world, words):
    once = [np.unique(row[row >= 0]) for row in words]
    return softmax(np.log(world.prior) + np.array([np.log(world.word_probs[:, row]).sum(axis=1) for row in once]))


def other_overlap(world, words):
    """Of the same words, as if the family shared a little less."""
    prior = world.prior.tolist()
    return IntentWorld.make(classes=10, family=5, overlap=0.55, key=("tests", "intents"), prior=prior).posterior(words)


WRONG = {
    "prior ignored": lambda w, x: softmax(w.log_joint(x) - np.log(w.prior)),
    "order counts": order_counts,
    "repeated words once": repeated_words_once,
    "another overlap": other_overlap,
    "too sure": lambda w, x: softmax(1.1 * w.log_joint(x)),
    "one word forgotten": lambda w, x: w.posterior(np.where(np.arange(x.shape[1]) == 0, -1, x)),
}


@pytest.mark.parametrize("wrong", [name for name in WRONG if name != "one word forgotten"])
def test_wrong_posteriors_are_rejected_by_the_labels(world, drawn, wrong):
    z = calibration_z(WRONG[wrong](world, drawn.words), drawn.labels)
    assert np.abs(z).max() > limit(len(z)) + 3  # power above .99


def test_a_posterior_of_fewer_words_is_calibrated_and_says_less(world, drawn):
    """Calibration cannot tell it from the true one; the likelihood of the labels and the accuracy can."""
    true, less = world.posterior(drawn.words), WRONG["one word forgotten"](world, drawn.words)
    rows = np.arange(len(true))
    gain = np.log(true[rows, drawn.labels]) - np.log(less[rows, drawn.labels])
    assert gain.mean() / (gain.std() / np.sqrt(len(gain))) > limit(1) + 3
    assert world.bayes_accuracy(drawn.words, drawn.labels) > (less.argmax(axis=1) == drawn.labels).mean()


def test_bayes_accuracy_is_the_mean_of_the_largest_probability_and_falls_with_overlap():
    seen = []
    for overlap in (0.0, 0.5, 1.0):
        world = IntentWorld.make(classes=20, family=5, overlap=overlap, key=("tests", "overlap"))
        drawn = world.draw(10_000, key=("tests", "overlap", overlap))
        largest = world.posterior(drawn.words).max(axis=1)
        accuracy = world.bayes_accuracy(drawn.texts, drawn.labels)
        z = (accuracy - largest.mean()) * len(largest) / np.sqrt((largest * (1 - largest)).sum())
        assert abs(z) < limit(3)
        seen.append(accuracy)
    assert seen[0] > 0.98
    assert 0.6 < seen[1] < 0.9
    assert abs(seen[2] - 0.2) < 0.02  # a guess within the family of five: 0.004 is one standard error


@pytest.mark.parametrize(("classes", "family", "sizes"), [(77, 5, {5, 6}), (150, 5, {5}), (6, 5, {6}), (2, 1, {1})])
def test_families_words_and_probabilities(classes, family, sizes):
    world = IntentWorld.make(classes=classes, family=family, overlap=0.3, key=("tests", "families"))
    assert set(np.bincount(world.families).tolist()) == sizes
    assert list(world.classes) == sorted(set(world.classes))
    assert len(world.classes) == classes
    assert len(set(world.vocabulary)) == len(world.vocabulary)
    assert all(word.isalpha() and word == word.lower() for word in world.vocabulary)
    np.testing.assert_allclose(world.word_probs.sum(axis=1), 1, rtol=1e-12)
    assert world.word_probs.min() > 0
    assert (np.diff(world.families) >= 0).all()
    for name, group in zip(world.classes, world.families, strict=True):  # a family is named by its topic
        assert len({c.split("_")[0] for c, g in zip(world.classes, world.families, strict=True) if g == group}) == 1, (
            name
        )


def test_overlap_moves_own_words_to_the_family_and_nothing_else():
    worlds = [IntentWorld.make(classes=10, family=5, overlap=o, key=("tests", "moves")) for o in (0.0, 0.5, 1.0)]
    apart, half, same = (w.word_probs for w in worlds)
    np.testing.assert_allclose(half, (apart + same) / 2, rtol=1e-12)
    assert len({w.vocabulary for w in worlds}) == 1
    for group in (0, 1):
        entities = worlds[0].families == group
        np.testing.assert_allclose(same[entities], np.tile(apart[entities].mean(axis=0), (5, 1)), rtol=1e-12)
    closest = np.minimum(apart[0], apart[1]).sum()  # of two intents of one family: all but the own words
    assert 0.49 < closest < 0.52


def test_more_topics_than_names_are_still_different():
    world = IntentWorld.make(classes=200, family=4, key=("tests", "many"))
    assert len({name.split("_")[0] for name in world.classes}) == 50
    assert list(world.classes) == sorted(world.classes)


def test_draws_are_balanced_keyed_and_as_long_as_said(world):
    even = IntentWorld.make(classes=7, key=("tests", "even"), lengths=(2, 4))
    for n in (5, 7, 100, 700):
        counts = np.bincount(even.draw(n, key=("tests", n)).labels, minlength=7)
        assert counts.max() - counts.min() <= 1
    drawn = world.draw(999, key=("tests", "prior"))
    assert (np.abs(np.bincount(drawn.labels) - 999 * world.prior) < 1).all()
    one, again, other = (even.draw(400, key=("tests", key)) for key in ("a", "a", "b"))
    assert one.texts == again.texts
    assert one.fingerprint == again.fingerprint != other.fingerprint
    length = (one.words >= 0).sum(axis=1)
    assert set(length.tolist()) == {2, 3, 4}
    assert [len(text.split()) for text in one.texts] == length.tolist()
    np.testing.assert_array_equal(even.numbered(one.texts), one.words)
    with ledger():  # each draw has a name of its own
        even.draw(3, key=("tests", "a"))
        even.draw(3, key=("tests", "b"))


def test_the_odd_rows_fall_on_every_intent_alike():
    """One row of two intents: 2,000 draws; both sides are as likely, so that the prior is that of each row."""
    even = IntentWorld.make(classes=2, family=1, key=("tests", "odd"))
    first = sum(int(even.draw(1, key=("tests", "odd", i)).labels[0] == 0) for i in range(2000))
    assert abs(first - 1000) / np.sqrt(500) < limit(1)


def test_length_says_nothing_about_the_intent(drawn):
    length = (drawn.words >= 0).sum(axis=1)
    seen = np.array([np.bincount(length[drawn.labels == c], minlength=13)[5:] for c in range(10)])
    assert stats.chi2_contingency(seen).pvalue > ALPHA
    longer = seen.astype(float)
    longer[0] *= np.linspace(0.6, 1.4, seen.shape[1])  # one intent whose texts are longer
    assert stats.chi2_contingency(longer).pvalue < ALPHA**2


def test_a_draw_is_split_like_any_texts(drawn):
    part = data.split_texts(drawn)
    assert len(part.texts_test) == pytest.approx(8000, abs=10)
    assert part.texts_test[5] == drawn.texts[part.rows_test[5]]
    np.testing.assert_array_equal(part.labels_test, drawn.labels[part.rows_test])


def test_what_makes_no_world_is_refused(world):
    for options in (
        {"classes": 1},
        {"family": 0},
        {"overlap": 1.1},
        {"overlap": np.nan},
        {"lengths": (3, 2)},
        {"lengths": (0, 2)},
    ):
        with pytest.raises(OptionError, match="intents need classes >= 2"):
            IntentWorld.make(**{"key": ("tests",), **options})
    for prior in ([0.5, 0.5], [1, 0, 1], [1, np.nan, 1]):
        with pytest.raises(OptionError, match="prior needs 3 positive numbers"):
            IntentWorld.make(classes=3, key=("tests",), prior=prior)
    with pytest.raises(OptionError, match="n >= 1; got 0"):
        world.draw(0, key=("tests",))
    with pytest.raises(OptionError, match="Make it smaller"):
        IntentWorld.make(classes=3000, key=("tests",))


def test_texts_that_the_world_does_not_produce(world, tiny_world):
    with pytest.raises(DataError, match="text 2 holds 'nonsense', a word of no intent"):
        world.posterior(["please", "please nonsense"])
    with pytest.raises(ShapeError, match="places 0"):
        world.posterior(np.array([[10**6]]))
    with pytest.raises(ShapeError, match=r"shape \(2,\)"):
        world.posterior(np.array([1, 2]))
    alone = IntentWorld(("x", "y"), ("a", "b"), np.array([0, 1]), np.array([0.5, 0.5]), np.eye(2), (1, 2))
    with pytest.raises(DataError, match="text 1 has probability 0 under every intent"):
        alone.posterior(["x y"])


FAMILIES = [0, 0, 0, 1, 1]


def exact_noise(rate, kind):
    """P(seen | true), spelt out."""
    table = np.zeros((5, 5))
    for true, seen in product(range(5), repeat=2):
        others = [c for c in range(5) if c != true and (kind == "uniform" or FAMILIES[c] == FAMILIES[true])]
        table[true, seen] = 1 - rate if seen == true else rate / len(others) if seen in others else 0
    return table


@pytest.mark.parametrize("kind", ["uniform", "family"])
def test_label_noise_is_as_frequent_as_said(kind):
    """30,000 labels a class: a share of .05 that is wrong by a fifth is 7.9 standard errors out."""
    labels = np.tile(np.arange(5), 30_000)
    noisy = data.with_label_noise(labels, 0.3, classes=5, key=("tests", kind), kind=kind, families=FAMILIES)
    seen = np.array([np.bincount(noisy[labels == c], minlength=5) for c in range(5)])

    def largest(expected):
        z = (seen - 30_000 * expected) / np.sqrt(30_000 * np.maximum(expected * (1 - expected), 1e-9))
        return np.abs(z).max()

    assert largest(exact_noise(0.3, kind)) < limit(25)
    assert largest(exact_noise(0.3, "family" if kind == "uniform" else "uniform")) > limit(25) + 3
    assert largest(exact_noise(0.3 * 4 / 5, kind)) > limit(25) + 3  # as if the true class could be drawn again


@pytest.mark.parametrize("kind", ["uniform", "family"])
def test_distribution_of_the_noisy_label_is_exact(kind):
    posterior = np.random.Generator(np.random.SFC64(3)).dirichlet(np.ones(5), size=50)
    for rate in (0.0, 0.2, 1.0):
        found = data.noisy_posterior(posterior, rate, kind=kind, families=FAMILIES)
        np.testing.assert_allclose(found, posterior @ exact_noise(rate, kind), rtol=0, atol=1e-15)
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-14)


@pytest.mark.parametrize("kind", ["uniform", "family"])
def test_noisy_labels_of_texts_follow_the_noisy_posterior(world, drawn, kind):
    posterior = world.posterior(drawn.words)
    noise = {"kind": kind, "families": world.families}
    noisy = data.with_label_noise(drawn.labels, 0.2, classes=10, key=("tests", "noisy", kind), **noise)
    z = calibration_z(data.noisy_posterior(posterior, 0.2, **noise), noisy)
    assert np.abs(z).max() < limit(len(z))
    for wrong in (posterior, data.noisy_posterior(posterior, 0.16, **noise)):
        z = calibration_z(wrong, noisy)
        assert np.abs(z).max() > limit(len(z)) + 3


def test_label_noise_refuses_what_it_cannot_do():
    for rate in (-0.1, 1.1, np.nan):
        with pytest.raises(OptionError, match="rate of label noise"):
            data.with_label_noise([0, 1], rate, classes=2, key=("tests",))
    with pytest.raises(OptionError, match="did you mean 'family'"):
        data.noisy_posterior([[0.5, 0.5]], 0.1, kind="familiy")
    with pytest.raises(OptionError, match=r"one number per class \(2\); got none"):
        data.noisy_posterior([[0.5, 0.5]], 0.1, kind="family")
    with pytest.raises(OptionError, match="class 2 is the only one of its family"):
        data.noisy_posterior([[0.5, 0.5, 0.0]], 0.1, kind="family", families=[0, 0, 1])
    np.testing.assert_array_equal(data.noisy_posterior([[0.5, 0.5]], 0.0, kind="family", families=[0, 1]), [[0.5, 0.5]])
    with pytest.raises(ShapeError, match="whole numbers 0 ... 1"):
        data.with_label_noise([0, 2], 0.1, classes=2, key=("tests",))
    with pytest.raises(ShapeError, match="two axes"):
        data.noisy_posterior([0.5, 0.5], 0.1)


@pytest.mark.slow
def test_tokens_of_whole_words(world, drawn, tmp_path):
    made = data.tokenizer(world)
    ids = data.encode(made, drawn.texts[:50], 16)
    assert ids.shape == (50, 16)
    assert ids.dtype == np.int64
    for row, words in zip(ids, drawn.words[:50], strict=True):
        kept = words[words >= 0]
        assert row.tolist() == [2, *(kept + 4), 3, *[0] * (14 - len(kept))]
    assert (made.pad_token_id, made.unk_token_id, made.cls_token_id, made.sep_token_id) == (0, 1, 2, 3)
    assert len(made) == len(world.vocabulary) + 4
    cut = data.encode(made, drawn.texts[:50], 5)
    np.testing.assert_array_equal(cut[:, :4], ids[:, :4])
    assert (cut[:, 4] == 3).all()
    made.save_pretrained(tmp_path)
    np.testing.assert_array_equal(data.encode(data.open_tokenizer(str(tmp_path)), drawn.texts[:50], 16), ids)


def test_marks_in_a_text_are_letters(world, tmp_path):
    """A text that says "[SEP]" ends nothing and hides nothing, and the tokenizer is afterwards as it was."""
    hostile = ["please [SEP] help", "[PAD]", "[CLS]please[SEP]"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "please", "help", "[", "]", "sep", "pad", "cl", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for made in (data.tokenizer(world), data.open_tokenizer(str(tmp_path))):
        before = made(hostile)["input_ids"]
        ids = data.encode(made, hostile, 12)
        for row in ids:
            inner = row[1 : row.tolist().index(made.sep_token_id)]
            rest = row[len(inner) + 2 :]
            assert row[0] == made.cls_token_id
            assert not {made.cls_token_id, made.sep_token_id, made.pad_token_id} & set(inner.tolist())
            assert (rest == made.pad_token_id).all()
        assert made(hostile)["input_ids"] == before
    assert data.encode(made, hostile, 12)[0].tolist()[:8] == [2, 5, 7, 9, 8, 6, 3, 0]  # please [ sep ] help


def test_tokens_that_cannot_be_had(world, tmp_path):
    made = data.tokenizer(world)
    with pytest.raises(OptionError, match="above the 2 marks .*; got 2"):
        data.encode(made, ["please"], 2)
    with pytest.raises(DataError, match="text 2 holds half of a surrogate pair"):
        data.encode(made, ["please", "a \ud800"], 8)
    assert data.encode(made, [], 8).shape == (0, 8)
    made.pad_token = None
    with pytest.raises(OptionError, match="no padding token"):
        data.encode(made, ["please"], 8)

    class Odd:
        vocabulary = ("fine", "not fine")

    with pytest.raises(OptionError, match="'not fine' holds"):
        data.tokenizer(Odd())
    with pytest.raises(
        DataError, match=r"tokenizer '.*none' cannot be loaded .* offline, give a model's folder"
    ) as caught:
        data.open_tokenizer(str(tmp_path / "none"))
    assert len(str(caught.value).splitlines()) == 1


def test_code_of_a_tokenizer_is_not_run(tmp_path):
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')")
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["own.T", null]}}')
    (tmp_path / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.C"}}')
    with pytest.raises(DataError, match="cannot be loaded") as caught:
        data.open_tokenizer(str(tmp_path))
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "trace").exists()
