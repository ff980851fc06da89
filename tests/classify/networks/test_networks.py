"""Every architecture stacks: S students become what plain torch makes of each alone. Models from folders, and what is refused."""

from __future__ import annotations

import copy
import json
import socket

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F

from uqkd import seeds
from uqkd.classify import (
    BagOfWords,
    Distillation,
    Teacher,
    by_name,
    convolutional,
    distill,
    perceptron,
    pretrained,
    residual,
    weigh_probabilities,
)
from uqkd.classify.networks import naming
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.stacked import Recipe, SeedDesign, batch_orders, check_stacking, stack

KEY = ("test", "networks")
C, ROWS, VOCABULARY, PAD = 3, 16, 20, 0
SIZE = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 16, "initializer_range": 0.2,
}  # fmt: skip
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TEXT = {
    "bert": transformers.BertConfig(**SIZE),
    "roberta": transformers.RobertaConfig(**SIZE),
    "xlm-roberta": transformers.XLMRobertaConfig(**SIZE),
    "electra": transformers.ElectraConfig(embedding_size=8, **SIZE),
    "albert": transformers.AlbertConfig(embedding_size=8, **SIZE),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=16,
        n_layers=2,
        n_heads=2,
        hidden_dim=24,
        max_position_embeddings=16,
        initializer_range=0.2,
    ),
}


def bert(**options):
    return transformers.BertConfig(**SIZE, **{**STILL, **options})


FACTORIES = {
    "perceptron": lambda: perceptron(64, C, hidden=(8, 6)),
    "logistic": lambda: perceptron(64, C, hidden=()),
    "convolutional": lambda: convolutional(1, C, size=8, width=4),
    "residual": lambda: residual(1, C, depth=8, width=4),
    "bag": lambda: BagOfWords(VOCABULARY, C, pad=PAD, width=8),
    "bert without dropout": lambda: pretrained(bert(), C, pad=PAD),
    **{name: (lambda config=config: pretrained(config, C, pad=PAD)) for name, config in TEXT.items()},
}


def draw(*key):
    return seeds.generator(*KEY, *key, shared=True)


def texts(rows=ROWS, length=7):
    """Token ids, padded on the right to one length."""
    generator = draw("texts")
    X = generator.integers(1, VOCABULARY, size=(rows, length))
    return np.where(np.arange(length) < generator.integers(2, length + 1, size=(rows, 1)), X, PAD)


def rows_of(name):
    image = name in ("perceptron", "logistic", "convolutional", "residual")
    return draw("images").standard_normal((ROWS, 1, 8, 8)).astype(np.float32) if image else texts()


# ---------------------------------------------------------------------------------------------------- together, alone


@pytest.mark.parametrize("name", FACTORIES)
def test_every_architecture_passes_the_check_of_stacking(name):
    model = stack(FACTORIES[name], 3, key=(*KEY, name))
    # single precision through a few layers of width <= 64: some ten units in the last place; batch norm divides by the
    # spread of 16 rows, which may amplify them tenfold
    assert check_stacking(model, rows_of(name)) <= 2e-5
    assert model(rows_of(name)).shape == (3, ROWS, C)


class Mixes(nn.Module):
    """Looks at the other rows of its batch."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, C)

    def forward(self, x):
        return self.layer(x.flatten(1) - x.flatten(1).mean(0))


class Reads(nn.Module):
    """Takes the first row of the batch for one of its own."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, C)

    def forward(self, x):
        return self.layer(x.flatten(1)) + x.flatten(1)[:1, :C]


@torch.no_grad()
def apart_on_own_rows(factory, X):
    """Largest difference of two students together and alone, on rows that they do not share: a mean over equal batches hides."""
    own = torch.as_tensor(np.stack([X, X[::-1] * 2.0 if X.dtype.kind == "f" else X[::-1]]).astype(X.dtype))
    model = stack(factory, 2, key=(*KEY, "own rows")).eval()
    together, alone = model(own, shared=False), torch.stack([model.student(s)(own[s]) for s in range(2)])
    assert (together[0] - together[1].flip(0)).abs().max() > 1e-3  # two students, two answers
    return float((together - alone).abs().max())


@pytest.mark.parametrize("name", FACTORIES)
def test_students_with_rows_of_their_own_are_those_students_alone(name):
    assert apart_on_own_rows(FACTORIES[name], rows_of(name)) <= 2e-5  # as above


@pytest.mark.parametrize("wrong", [Mixes, Reads])
def test_architectures_that_mix_rows_of_students_are_seen(wrong):
    assert apart_on_own_rows(wrong, rows_of("perceptron")) > 1e-2


TOGETHER = ("convolutional", "residual", "bag", "bert without dropout")
RECIPE = Recipe(steps=5, batch=8, optimiser="sgd", momentum=0.9, lr=0.05)
# Five steps in single precision (6e-8 of values of size 1) through sums of up to some hundred terms, in another order:
# about 1e-6; batch norm in training mode amplifies it by up to ten. The students themselves are 1e-3 apart and more.
ALONE = 2e-5


@pytest.mark.parametrize("name", TOGETHER)
def test_students_together_are_plain_torch_alone(name):
    """Initialisation, order of the batches, loss, optimiser and batch norm in training mode, student by student."""
    X, seed_design = rows_of(name), SeedDesign.independent(3)
    P = draw("targets").dirichlet(np.ones(C), ROWS)
    y = draw("labels").integers(C, size=ROWS)
    students = distill(
        X, weigh_probabilities(P), labels=y, factory=FACTORIES[name], objective=Distillation(2.0, 0.8), recipe=RECIPE,
        seed_design=seed_design, key=KEY,
    )  # fmt: skip
    orders = batch_orders(ROWS, 8, RECIPE.steps, seed_design.order, key=KEY)
    apart, last = [], []
    for s in range(3):
        with seeds.torch_stream(*KEY, "initialisation", s):
            alone = FACTORIES[name]()
        last.append(plainly(alone, torch.as_tensor(X), torch.as_tensor(P), torch.as_tensor(y), orders[s]))
        apart.append([gap(students.alone(t), alone) for t in range(3)])
    assert np.diag(apart).max() <= ALONE
    assert (np.array(apart) + np.eye(3)).min() > 100 * ALONE  # another student's order or initialisation shows
    np.testing.assert_allclose(students.loss, last, rtol=0, atol=ALONE)


def plainly(network, X, P, y, order):
    """Loss at the last step, of a textbook loop."""
    optimiser = torch.optim.SGD(network.train().parameters(), lr=RECIPE.lr, momentum=RECIPE.momentum)
    softened = (P.log() / 2.0).softmax(-1).float()
    for rows in torch.as_tensor(order, dtype=torch.int64):
        optimiser.zero_grad()
        z = network(X[rows])
        soft = F.kl_div((z / 2.0).log_softmax(-1), softened[rows], reduction="batchmean")
        loss = 0.8 * 4.0 * soft + 0.2 * F.cross_entropy(z, y[rows])
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def gap(one, other):
    """Largest difference of parameters and running statistics."""
    held = other.state_dict()
    return max(
        float((value - held[name]).abs().max()) for name, value in one.state_dict().items() if value.is_floating_point()
    )


def test_bert_with_dropout_trains_reproducibly_and_students_drop_their_own():
    X, P = texts(), draw("dropout").dirichlet(np.ones(C), ROWS)
    common = {
        "factory": lambda: pretrained(bert(hidden_dropout_prob=0.3, classifier_dropout=0.3), C, pad=PAD),
        "objective": Distillation(1.0, 1.0), "key": (*KEY, "dropout"),
    }  # fmt: skip

    def trained(seed_design, steps=4):
        recipe = Recipe(steps=steps, optimiser="sgd", lr=0.05)  # all rows at every step: order is that of the masks
        return distill(X, weigh_probabilities(P), recipe=recipe, seed_design=seed_design, **common).logits(X)

    one, again = (trained(SeedDesign.independent(3)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    masks = trained(SeedDesign.independent(3, freeze=["initialisation"]))
    assert np.abs(masks[0] - masks[1]).max() > 1e-3
    assert np.abs(masks[0] - masks[2]).max() > 1e-3
    alike = trained(SeedDesign.independent(3, freeze=["initialisation", "order"]))
    np.testing.assert_array_equal(alike[0], alike[1])
    # a student is the same in whatever company: rounding of a few steps, as in ALONE
    np.testing.assert_allclose(trained(SeedDesign.independent(1, first=2))[0], one[2], rtol=0, atol=ALONE)


def test_the_library_may_not_drop_attention_by_torchs_global_state():
    drops = bert(attention_probs_dropout_prob=0.3)
    network = pretrained(drops, C, pad=PAD).train()
    before = torch.get_rng_state()
    network(torch.as_tensor(texts()))
    assert torch.equal(before, torch.get_rng_state())
    assert drops.attention_probs_dropout_prob == 0.3  # the caller's configuration stays as it was
    assert drops.num_labels == 2


# ----------------------------------------------------------------------------------------------------------- padding


@pytest.mark.parametrize("name", ["bag", *TEXT])
def test_padding_does_not_change_logits(name):
    network = stack(FACTORIES[name], 1, key=(*KEY, "padding", name)).student(0).eval()
    rows = torch.as_tensor(draw("padding").integers(1, VOCABULARY, size=(6, 5)))
    with torch.no_grad():
        plain, padded = network(rows), network(F.pad(rows, (0, 4), value=PAD))
        assert (plain - padded).abs().max() <= 2e-6  # sums of at most 9 · 24 terms of size 1 in single precision
        if name == "bag":
            attended = network.head(network.words(F.pad(rows, (0, 4), value=PAD)).mean(1))
        else:
            attended = network.model(input_ids=F.pad(rows, (0, 4), value=PAD)).logits
        assert (plain - attended).abs().max() > 1e-4  # a mask that is forgotten would show


def test_a_bag_knows_no_order_and_takes_rows_of_nothing():
    network = BagOfWords(VOCABULARY, C, pad=PAD, width=8).eval()
    with torch.no_grad():
        one, other = network(torch.tensor([[2, 5, 3, 0]])), network(torch.tensor([[0, 3, 2, 5]]))
        torch.testing.assert_close(one, other)
        assert network(torch.tensor([[0, 0]])).isfinite().all()
        assert (network(torch.tensor([[2, 5, 4]])) - one).abs().max() > 1e-4


def test_the_padding_of_a_fresh_model_is_the_one_that_is_asked_for():
    """RoBERTa counts positions from its padding token, 1 as configured: with another one token 1 would have no place."""
    network = pretrained(TEXT["roberta"], C, pad=PAD)
    assert network.model.config.pad_token_id == PAD
    assert network.model.roberta.embeddings.padding_idx == PAD
    assert TEXT["roberta"].pad_token_id == 1


# ------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("depth", "parameters", "millions"), [(20, 269_722, 0.27), (56, 853_018, 0.85), (110, 1_727_962, 1.7)]
)
def test_sizes_of_residual_networks_are_the_published_ones(depth, parameters, millions):
    """He et al. (2016), table 6: 0.27, 0.85 and 1.7 million, with shortcuts that have no parameters."""
    network = residual(3, 10, depth=depth)
    shortcuts = sum(p.numel() for name, p in network.named_parameters() if "shortcut" in name)
    assert shortcuts == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    held = sum(p.numel() for p in network.parameters()) - shortcuts
    assert held == parameters
    assert abs(held / 1e6 - millions) <= (0.05 if depth == 110 else 0.005)  # as many digits as published
    layers = sum(isinstance(m, nn.Conv2d | nn.Linear) for name, m in network.named_modules() if "shortcut" not in name)
    assert layers == depth


def test_residual_stages_halve_the_image():
    network = residual(3, 10, depth=8, width=4)
    with torch.no_grad():
        before = network[:-3](torch.zeros(2, 3, 32, 32))
    assert before.shape == (2, 16, 8, 8)


@pytest.mark.parametrize(
    ("name", "row", "parameters"),
    [
        ("perceptron:5", (4,), 4 * 5 + 5 + 5 * 3 + 3),
        ("perceptron:5,6", (1, 2, 2), 4 * 5 + 5 + 5 * 6 + 6 + 6 * 3 + 3),
        ("perceptron", (4,), 4 * 3 + 3),
        ("convolutional:2", (1, 8, 8), 2 * 9 + 2 + 4 * 18 + 4 + 64 * 3 + 3),
        ("residual:8", (3, 8, 8), None),
        ("residual:14:4", (3, 8, 12), None),
    ],
)
def test_names_of_image_networks(name, row, parameters):
    network = by_name(name, row=row, classes=3)()
    assert network.eval()(torch.zeros(2, *row)).shape == (2, 3)
    if parameters is not None:
        assert sum(p.numel() for p in network.parameters()) == parameters
    if name.startswith("residual"):
        depth, width = (8, 16) if name == "residual:8" else (14, 4)
        expected = residual(3, 3, depth=depth, width=width)
        assert [p.shape for p in network.parameters()] == [p.shape for p in expected.parameters()]


def test_names_of_text_networks(saved):
    bag = by_name("bag:6", row=(7,), classes=3, pad=PAD, vocabulary=VOCABULARY)()
    assert isinstance(bag, BagOfWords)
    assert bag.words.weight.shape == (VOCABULARY, 6)
    assert by_name(str(saved), row=(7,), classes=3, pad=PAD)().eval()(torch.as_tensor(texts())).shape == (ROWS, 3)


@pytest.mark.parametrize(
    "name", ["convolutional", "convolutional:16:5", "residual", "residual:8:4:2", "bag:64", "bag"],
)  # fmt: skip
def test_names_that_do_not_fit_images(name):
    with pytest.raises(OptionError, match=rf"network '{name}' does not fit rows of shape \(1, 8, 8\): perceptron:64, "):
        by_name(name, row=(1, 8, 8), classes=3)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("resnet:20", OptionError, "network 'resnet:20' is none of .* Did you mean 'residual:20'?"),
        ("perceptrn:20", OptionError, "Did you mean 'perceptron:20'?"),
        ("perceptrn", OptionError, "Did you mean 'perceptron'?"),
        ("Residual", OptionError, "Did you mean 'residual'?"),
        ("conv:16", OptionError, "Did you mean 'convolutional:16'?"),
        ("xyz:1", OptionError, "bag:64, and no folder of a transformers model.$"),
        ("residual:20x", OptionError, "the size '20x' is no whole number above 0"),
        ("perceptron:abc", OptionError, "the size 'abc' is no whole number above 0"),
        ("perceptron:8,-3", OptionError, "the size '-3' is no whole number above 0"),
        ("perceptron:0", OptionError, "the size '0' is no whole number above 0"),
        ("residual:x", OptionError, "the size 'x' is no whole number above 0"),
        ("residual:9", OptionError, r"a depth of 6n \+ 2 layers, such as 8, 14 or 20; got 9"),
        ("/nowhere/model", DataError, "network '/nowhere/model' is a path at which there is nothing"),
        ("./nowhere", DataError, "is a path at which there is nothing"),
        ("~/nowhere", DataError, "is a path at which there is nothing"),
        (64, OptionError, "a network goes by a name, such as 'perceptron:64'; got 64"),
    ],
)  # fmt: skip
def test_names_are_checked_at_once_without_building_or_loading(name, error, message, monkeypatch):
    for function in ("pretrained", "perceptron", "residual"):
        monkeypatch.setattr(naming, function, lambda *_, **__: pytest.fail("something was built"))
    with pytest.raises(error, match=message) as caught:
        by_name(name, row=(1, 8, 8), classes=3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "google/bert_uncased_L-4_H-256_A-4", "someone/perceptron", "gpt2"]
)
def test_names_of_models_are_left_to_the_library(name, monkeypatch):
    monkeypatch.setattr(naming, "pretrained", lambda *_, **__: "loaded")
    assert by_name(name, row=(7,), classes=3, pad=PAD)() == "loaded"


def test_a_folder_with_a_colon_in_its_name_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(naming, "pretrained", lambda *_, **__: "loaded")
    (tmp_path / "model:3").mkdir()
    assert by_name(str(tmp_path / "model:3"), row=(7,), classes=3, pad=PAD)() == "loaded"


@pytest.mark.parametrize(("name", "most"), [("bert", 16), ("roberta", 15), ("distilbert", 16)])
def test_rows_longer_than_a_model_has_positions_are_named(name, most):
    """RoBERTa leaves one out, that of padding."""
    one = Teacher.of(pretrained(TEXT[name], C, pad=PAD))
    assert one.logits(np.ones((2, most), dtype=int)).shape == (2, C)
    long = np.ones((4, most + 1), dtype=int)
    said = rf"rows of {most + 1} tokens do not fit a model of {most} positions .* to length={most} at most"
    for ask in (
        lambda: one.logits(long),
        lambda: Teacher.fit(
            long, [0, 1, 2, 0], classes=C, factory=lambda: pretrained(TEXT[name], C, pad=PAD), recipe=Recipe(steps=1),
            key=(*KEY, "long"),
        ),
    ):  # fmt: skip
        with pytest.raises(ShapeError, match=said) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_names_that_do_not_fit_these_rows():
    with pytest.raises(OptionError, match="does not fit texts"):
        by_name("residual:8", row=(7,), classes=3, pad=PAD, vocabulary=9)
    with pytest.raises(OptionError, match=r"'convolutional:4' does not fit rows of shape \(1, 8, 12\)"):
        by_name("convolutional:4", row=(1, 8, 12), classes=3)
    with pytest.raises(OptionError, match="does not fit rows of shape"):
        by_name("residual:8", row=(7,), classes=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: residual(1, 3, depth=9), "a depth of 6n . 2 layers, such as 8, 14 or 20; got 9"),
        (lambda: residual(1, 3, depth=2), "got 2"),
        (lambda: convolutional(1, 3, size=3), "size >= 4; got size=3"),
        (lambda: perceptron(0, 3), "inputs >= 1; got inputs=0"),
        (lambda: perceptron(4, 3, hidden=(8, 0)), "hidden >= 1; got hidden=0"),
        (lambda: perceptron(4, 1), "classes >= 2; got classes=1"),
        (lambda: BagOfWords(0, 3, pad=0), "vocabulary >= 1"),
        (lambda: pretrained(bert(), 1, pad=0), "classes >= 2"),
    ],
)
def test_sizes_that_are_none(make, message):
    with pytest.raises(OptionError, match=message):
        make()


# ----------------------------------------------------------------------------------------------------------- folders


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A classifier of five classes as the library saves it."""
    path = tmp_path_factory.mktemp("models") / "saved"
    with seeds.torch_stream(*KEY, "saved", shared=True):
        transformers.BertForSequenceClassification(bert(num_labels=5)).save_pretrained(path)
    return path


@pytest.fixture
def offline(monkeypatch):
    """Any attempt at a connection fails the test, whatever becomes of the error."""
    import huggingface_hub

    tried = []

    def refuse(*arguments, **_):
        tried.append(arguments)
        raise OSError("this test has no network")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not tried


def within(stream, model, classes):
    with seeds.torch_stream(*KEY, stream, shared=True):
        return pretrained(model, classes, pad=PAD)


def test_a_saved_folder_with_other_classes_gets_a_fresh_head(saved, offline):
    original = transformers.BertForSequenceClassification.from_pretrained(saved)
    one, again, other = (within(stream, saved, 3).model for stream in ("a", "a", "b"))
    for name, value in original.bert.state_dict().items():
        assert torch.equal(value, one.bert.state_dict()[name]), name
    assert one.classifier.weight.shape == (3, 16)
    assert torch.equal(one.classifier.weight, again.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    kept = within("a", str(saved), 5).model
    assert torch.equal(kept.classifier.weight, original.classifier.weight)


def test_students_of_a_saved_folder_differ_in_their_heads_alone(saved, offline):
    model = stack(lambda: pretrained(saved, C, pad=PAD), 2, key=(*KEY, "heads")).parameters_by_name()
    differ = {name for name, value in model.items() if not torch.equal(value[0], value[1])}
    assert differ == {"model.classifier.weight"}


class Bomb:
    """A pickle that would leave a trace if anything loaded it."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


def changed(path, **fields):
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def copy_of(saved, path):
    path.mkdir()
    for file in saved.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    return path


def refused(error, match, model, pad=PAD):
    with pytest.raises(error, match=match) as caught:
        pretrained(model, C, pad=pad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("harmless", [True, False])
def test_weights_as_a_pickle_are_not_loaded(saved, offline, tmp_path, harmless):
    path = copy_of(saved, tmp_path / "m")
    weights = transformers.BertForSequenceClassification.from_pretrained(path).state_dict()
    (path / "model.safetensors").unlink()
    torch.save(weights if harmless else Bomb(tmp_path / "trace"), path / "pytorch_model.bin")
    refused(DataError, r"does not load \(OSError: .*no file named model.safetensors", path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("kind", ["bert", "own"])
def test_code_of_its_own_is_not_run(saved, offline, tmp_path, kind):
    path = copy_of(saved, tmp_path / "m")
    (path / "own.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')")
    changed(path, model_type=kind, auto_map={"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.M"})
    refused((OptionError, DataError), "brings code of its own|custom code", path)
    assert not (tmp_path / "trace").exists()


def test_weights_of_another_architecture_are_not_taken_for_random_ones(saved, offline, tmp_path):
    path = copy_of(saved, tmp_path / "m")
    other = transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**SIZE))
    other.save_pretrained(tmp_path / "other")
    (path / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    refused(DataError, "has no weights of BertForSequenceClassification, which its config.json describes", path)


def test_loading_says_nothing_and_leaves_the_library_as_it_was(saved, offline, capfd):
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled(), logging.get_verbosity()
    pretrained(saved, C + 4, pad=0)  # a fresh head
    assert capfd.readouterr() == ("", "")
    assert (logging.is_progress_bar_enabled(), logging.get_verbosity()) == before


def test_another_padding_token_is_refused(saved, offline):
    refused(OptionError, "pads with token 0; got pad=3", saved, pad=3)


def test_models_that_are_not_there(offline, tmp_path):
    refused(DataError, "does not load", tmp_path / "missing")
    factory = by_name("nobody/nothing", row=(4,), classes=3, pad=PAD)  # which may be there, for all that is known here
    with pytest.raises(DataError, match="model 'nobody/nothing' does not load"):
        factory()
    refused(DataError, "model 'nobody/nothing' does not load", "nobody/nothing")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    refused(DataError, "does not load .*JSON", tmp_path / "broken")


SMALL_IMAGES = {
    "vision transformer": transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=8,
        patch_size=4,
        num_channels=1,
    ),
    "convnext": transformers.ConvNextConfig(
        hidden_sizes=[4, 8], depths=[1, 1], num_stages=2, patch_size=2, num_channels=1, layer_scale_init_value=0.5
    ),
}


@pytest.mark.parametrize("name", SMALL_IMAGES)
def test_parameters_outside_of_layers_are_those_of_each_student(name):
    rows = draw(name).standard_normal((6, 1, 8, 8)).astype(np.float32)
    model = stack(lambda: pretrained(SMALL_IMAGES[name], C, pad=None), 3, key=(*KEY, name))
    assert check_stacking(model, rows) <= 2e-5  # as above
    labels = np.arange(6) % C
    taught = Teacher.of(model.student(1))
    np.testing.assert_allclose(taught.logits(rows), model.eval()(torch.as_tensor(rows)).detach()[1], atol=2e-5)
    teacher = Teacher.fit(
        rows, labels, classes=C, factory=lambda: pretrained(SMALL_IMAGES[name], C, pad=None),
        recipe=Recipe(steps=60, lr=3e-3), key=(*KEY, name),
    )  # fmt: skip
    assert (teacher.predict_proba(rows).argmax(1) == labels).all()


@pytest.mark.parametrize("name", SMALL_IMAGES)
def test_images_are_brought_to_the_size_that_a_saved_model_was_trained_on(name, tmp_path, offline):
    config = copy.deepcopy(SMALL_IMAGES[name])
    config.image_size = 8
    with seeds.torch_stream("test", "networks", "image size", name):
        model = transformers.AutoModelForImageClassification.from_config(config)
    model.save_pretrained(tmp_path)
    rows = torch.as_tensor(draw(name).standard_normal((3, 1, 12, 12)).astype(np.float32))
    saved = by_name(str(tmp_path), row=(1, 12, 12), classes=2)().eval()
    wanted = model.eval()(pixel_values=F.interpolate(rows, (8, 8), mode="bilinear", antialias=True)).logits
    torch.testing.assert_close(saved(rows), wanted, rtol=0, atol=1e-6)  # float32 of order one
    torch.testing.assert_close(
        saved(rows[..., :8, :8]), model(pixel_values=rows[..., :8, :8]).logits, rtol=0, atol=1e-6
    )


def test_a_fresh_model_for_another_size_is_refused_in_one_line():
    factory = lambda: pretrained(SMALL_IMAGES["vision transformer"], C, pad=None)  # noqa: E731
    rows = np.zeros((4, 1, 12, 12), dtype=np.float32)
    with pytest.raises(ShapeError, match=r"does not take rows of shape \(1, 12, 12\).*doesn't match model") as caught:
        Teacher.fit(rows, [0, 1, 2, 0], classes=C, factory=factory, recipe=Recipe(steps=1), key=(*KEY, "size"))
    assert "\n" not in str(caught.value)


def test_images_go_to_a_convolutional_network_of_the_library():
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_channels=1)
    model = stack(lambda: pretrained(config, C, pad=None), 2, key=(*KEY, "resnet"))
    assert check_stacking(model, draw("resnet").standard_normal((4, 1, 16, 16)).astype(np.float32)) <= 2e-5  # as above


class Centred(nn.Module):
    """Takes the mean of its batch away: students in one batch would be mixed."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, C)

    def forward(self, rows):
        return self.head(rows - rows.mean(0))


def test_a_network_that_mixes_students_is_refused_before_any_training(monkeypatch):
    monkeypatch.setattr("uqkd.classify.classifiers.train", lambda *_, **__: pytest.fail("training began"))
    rows, labels = draw("mixing").standard_normal((6, 4)), np.arange(6) % C
    with pytest.raises(ShapeError, match="does not treat rows independently"):
        Teacher.fit_many(
            rows, labels, teachers=2, classes=C, factory=Centred, recipe=Recipe(steps=1), key=(*KEY, "mixing")
        )
