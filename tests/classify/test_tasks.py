"""Tasks in three parts, and what is made of them once in a process."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from uqkd import data
from uqkd.classify import Recipe
from uqkd.errors import DataError, DivergedError, OptionError, ProvenanceError
from uqkd.testbeds import classification
from uqkd.testbeds.cells import task_cell, task_of
from uqkd.testbeds.classification import cached_target_factory, cached_teacher, evaluate, network, performance

RECIPE = Recipe(steps=40, batch=16, lr=3e-3)


@pytest.fixture
def counted(monkeypatch):
    """How often a teacher was trained, from an empty memory."""
    calls = []
    fit = classification.Teacher.fit

    def counting(*arguments, **options):
        calls.append(options["key"])
        return fit(*arguments, **options)

    monkeypatch.setattr(classification, "_MADE", {})
    monkeypatch.setattr(classification.Teacher, "fit", counting)
    return calls


def test_a_teacher_is_trained_once_and_is_the_same_wherever_it_is_trained(counted, monkeypatch):
    task = data.load_task("digits")
    first = cached_teacher(task, network="perceptron:8", recipe=RECIPE)
    assert cached_teacher(task, network="perceptron:8", recipe=RECIPE) is first
    assert len(counted) == 1
    monkeypatch.setattr(classification, "_MADE", {})  # another process
    again = cached_teacher(task, network="perceptron:8", recipe=RECIPE)
    assert np.array_equal(again.logits(task.X_test), first.logits(task.X_test))


def test_another_network_recipe_or_task_is_another_teacher(counted):
    task = data.load_task("digits")
    other = replace(task, fingerprint="another")
    made = [
        cached_teacher(task, network="perceptron:8", recipe=RECIPE),
        cached_teacher(task, network="perceptron:9", recipe=RECIPE),
        cached_teacher(task, network="perceptron:8", recipe=replace(RECIPE, lr=1e-3)),
        cached_teacher(other, network="perceptron:8", recipe=RECIPE),
    ]
    assert len(counted) == len(set(counted)) == 4
    answers = [teacher.logits(task.X_test) for teacher in made]
    assert not any(np.array_equal(a, b) for n, a in enumerate(answers) for b in answers[:n])


def test_memory_holds_a_few_and_forgets_the_oldest(counted, monkeypatch):
    monkeypatch.setattr(classification, "CACHE_TEACHERS", 1)
    task = data.load_task("digits")
    for width in (4, 5, 6, 4):
        cached_teacher(task, network=f"perceptron:{width}", recipe=RECIPE)
    assert len(counted) == 4  # the first was forgotten
    assert len(classification._MADE) == 2


def test_what_failed_once_is_not_tried_again(counted):
    """Sixty-six cells of one study ask for one teacher."""
    task, wild = data.load_task("digits"), Recipe(steps=3, optimiser="sgd", lr=1e30)
    said = set()
    for _ in range(3):
        for ask in (cached_teacher, cached_target_factory):
            with pytest.raises(DivergedError) as caught:
                ask(task, network="perceptron:8", recipe=wild)
            said.add(str(caught.value))
            assert caught.value.__cause__ is caught.value.__context__ is None
    assert len(counted) == 2  # one for the teacher, one for the views
    assert len(said) == 1
    cached_teacher(task, network="perceptron:8", recipe=RECIPE)  # another recipe is another matter
    assert len(counted) == 3


def test_what_is_no_error_of_ours_is_tried_again(counted, monkeypatch):
    """Memory that was short may be there the next time."""
    short = [True]

    def fit(*_, **options):
        counted.append(options["key"])
        if short.pop():
            raise MemoryError
        return "a teacher"

    monkeypatch.setattr(classification.Teacher, "fit", fit)
    task = data.load_task("digits")
    with pytest.raises(MemoryError):
        cached_teacher(task, network="perceptron:8", recipe=RECIPE)
    short.append(False)
    assert cached_teacher(task, network="perceptron:8", recipe=RECIPE) == "a teacher"


def test_views_are_not_taken_for_teachers():
    task = data.load_task("intents:4")
    task = replace(task, X=task.X[:120], labels=task.labels[:120], fingerprint="a part")
    views = cached_target_factory(task, network="bag:4", recipe=RECIPE)
    assert cached_target_factory(task, network="bag:4", recipe=RECIPE) is views
    assert cached_teacher(task, network="bag:4", recipe=RECIPE) is not views


def test_evaluate_calibrates_on_held_out_rows_and_tests_on_the_others():
    task = data.load_task("digits")
    teacher = cached_teacher(task, network="perceptron:16", recipe=RECIPE)
    found = evaluate(teacher, task)
    right = performance(teacher, task.X_test, task.labels_test, held=(task.X_held, task.labels_held))
    for name, values in found.items():
        np.testing.assert_array_equal(values, right[name])
    wrong = performance(teacher, task.X_test, task.labels_test, held=(task.X_test, task.labels_test))
    assert wrong["temperature"] != found["temperature"]
    assert found["accuracy"][0] == (teacher.predict_proba(task.X_test).argmax(1) == task.labels_test).mean()


def test_only_classifiers_are_judged_on_a_task():
    task = data.load_task("digits")
    for asked in (np.eye(10), torch.nn.Linear(4, 2), None):
        with pytest.raises(OptionError, match=f"Classifiers or a Teacher are asked here; got {type(asked).__name__}"):
            evaluate(asked, task)


@pytest.mark.parametrize("name", ["digits", "intents:6"])
def test_the_three_parts_are_apart_and_hold_every_class(name):
    task = data.load_task(name)
    parts = (task.labels, task.labels_held, task.labels_test)
    assert all(set(part) == set(range(len(task.classes))) for part in parts)
    rows = [X.reshape(len(X), -1) for X in (task.X, task.X_held, task.X_test)]
    held = {row.tobytes() for row in rows[1]}
    if name == "digits":  # texts of few words may come twice by chance
        assert sum(map(len, rows)) == 1797
        assert not held & {row.tobytes() for row in rows[0]}
        assert not held & {row.tobytes() for row in rows[2]}


def test_the_posterior_belongs_to_its_rows():
    """By hand for one text: Bayes' rule over the words of the world that the task was drawn from."""
    task = data.load_task("intents:6")
    world = data.IntentWorld.make(classes=6, key=("data", "intents"))
    for part, X in ((task.posterior, task.X), (task.posterior_test, task.X_test)):
        words = X[7][X[7] != task.pad] - 1
        joint = np.prod(world.word_probs[:, words], axis=1)
        np.testing.assert_allclose(part[7], joint / joint.sum(), rtol=1e-9)  # a dozen products in double precision


def test_networks_fit_their_rows():
    digits, texts = data.load_task("digits"), data.load_task("intents:6")
    assert network("convolutional:2", digits)()[-1].out_features == 10
    assert network("bag:4", texts)().words.num_embeddings == texts.vocabulary
    with pytest.raises(OptionError, match="bag:4"):
        network("bag:4", digits)
    with pytest.raises(OptionError, match="convolutional:2"):
        network("convolutional:2", texts)


def test_bad_names_and_changed_contents_are_refused_in_one_line(tmp_path):
    for name, seen in (("digit", "'digits'"), ("intents:one", "intents:one"), ("intents:1", "intents:1")):
        with pytest.raises(OptionError, match=seen) as problem:
            data.load_task(name)
        assert "\n" not in str(problem.value)
    (tmp_path / "few.csv").write_text("text,label\na,x\nb,x\nc,y\nd,y\n")
    with pytest.raises(OptionError, match="say which with tokenizer="):
        data.load_task(str(tmp_path / "few.csv"))
    with pytest.raises(ProvenanceError, match="changed"):
        task_of({**task_cell("digits"), "data_fingerprint": "other"})


def test_texts_of_a_file_are_read_by_a_models_tokenizer(tmp_path):
    world = data.IntentWorld.make(classes=3, key=("test", "tasks"))
    drawn = world.draw(120, key=("test", "tasks"))
    data.tokenizer(world).save_pretrained(tmp_path / "reader")
    lines = [f"{text},{drawn.classes[label]}" for text, label in zip(drawn.texts, drawn.labels, strict=True)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *lines]))
    task = data.load_task(str(tmp_path / "texts.csv"), tokenizer=str(tmp_path / "reader"), length=16)
    assert task.pad == 0
    assert task.X.dtype == np.int64
    assert task.X.shape[1] == 16
    assert len(task.X) + len(task.X_held) + len(task.X_test) == 120
    assert task.vocabulary == len(world.vocabulary) + 4  # and the four marks
    few = tmp_path / "few.csv"
    few.write_text("text,label\n" + "\n".join(f"w{n},{'xy'[n % 2]}" for n in range(6)))
    with pytest.raises(
        DataError, match="two rows of every class.* class 'x' has 1 .2 such of 2 classes., with 3 in all; it takes 8"
    ):
        data.load_task(str(few), tokenizer=str(tmp_path / "reader"))
