"""The five verbs: one contract in every layer, as docs/contracts.md lists it, and one run of each verb in each layer."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from tests.toys import ToyTeacher
from uqkd import classify, linear, llm, mlp, seeds
from uqkd.llm.measuring.tables.sheet import Measured
from uqkd.llm.requests import Completion
from uqkd.llm.synthetic.testbed import Size, tokenizer
from uqkd.llm.teachers.responding import Responding
from uqkd.targets import ClassTargets, NumberTargets, Targets

LAYERS = ("linear", "mlp", "classify", "llm")
VERBS = {
    "respond": (linear.Teacher.respond, mlp.Teacher.respond, classify.Teacher.respond, Responding.respond),
    "weigh": (linear.weigh, mlp.weigh, classify.weigh, llm.weigh),
    "distill": (linear.distill, mlp.distill, classify.distill, llm.distill),
    "predict": (linear.Students.predict, mlp.Students.predict, classify.Classifiers.predict, llm.Students.predict),
    "estimate": (linear.estimate, mlp.estimate, classify.estimate, llm.estimate),
}
# What no layer may lack; the name of the rows is that of the field: texts are asked by prompts, which their targets hold.
EVERYWHERE = {
    "respond": ["X", "k", "students", "key"],
    "weigh": ["responses", "method", "second"],
    "distill": ["targets"],
    "predict": ["X", "draws", "key"],
    "estimate": ["draws"],
}
TRAINED = ["recipe", "seed_design", "key", "engine", "device", "dtype", "chunk", "exclude_failed"]  # by gradient
S, P, K, R = 3, 12, 2, 4
KEY = ("test", "contracts")
X = np.column_stack([np.ones(P), np.linspace(-1, 1, P)])


def parameters(verb):
    """Of each layer, the parameters by the name of their role."""
    found = []
    for function in VERBS[verb]:
        own = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
        found.append({"X" if p.name == "prompts" else p.name: p for p in own})
    return found


def as_text(verb, layer):
    """A signature without its types."""
    own = [
        p.replace(annotation=p.empty) for p in inspect.signature(VERBS[verb][LAYERS.index(layer)]).parameters.values()
    ]
    shown = inspect.Signature([p for p in own if p.name != "self"])
    return f"{verb}{shown}".replace("'", '"')


@pytest.mark.parametrize("verb", VERBS)
def test_shared_parameters_have_one_kind_one_default_and_one_order(verb):
    layers = parameters(verb)
    for own in layers:
        assert [name for name in own if name in EVERYWHERE[verb]] == EVERYWHERE[verb]
    for first in layers:
        for second in layers:
            shared = [name for name in first if name in second]
            assert shared == [name for name in second if name in first]
            for name in shared:
                assert (first[name].kind, first[name].default) == (second[name].kind, second[name].default), name


def test_layers_that_train_by_gradient_train_by_the_same_options():
    for own in parameters("distill")[1:]:
        assert [name for name in own if name in TRAINED] == TRAINED


def test_every_face_has_one_function_of_each_verb_and_one_teacher():
    for layer in (linear, mlp, classify, llm):
        names = set(layer.__all__)
        assert {"weigh", "distill", "estimate"} <= names
        assert not {name for name in names if name.startswith(("weigh_", "distill_", "estimate_", "teacher_sample"))}
        assert len({name for name in names if name.endswith("Teacher")} - {"AgainstTeacher"}) == (layer is not llm)
    assert linear.weigh is mlp.weigh is classify.weigh
    assert linear.estimate is mlp.estimate is classify.estimate


def test_the_table_in_the_documents_is_what_the_functions_say():
    text = (Path(__file__).parents[1] / "docs" / "contracts.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")]
    told = [(row[0].strip("`"), row[1], row[2].strip("`")) for row in rows]
    assert told == [(verb, layer, as_text(verb, layer)) for verb in VERBS for layer in LAYERS]
    for verb, layer, signature, *why in rows:
        first = next(row[2] for row in rows if row[0] == verb)
        assert signature == first or why[0], (verb, layer)  # a difference has its reason beside it


def of_linear(_folder):
    teacher = linear.Teacher.fit(X, 2 * X[:, 1] + np.sin(9 * X[:, 1]), noise_var=0.5)
    responses = teacher.respond(X, K, students=S, key=(*KEY, "responses"))
    targets = linear.weigh(responses)
    students = linear.distill(X, targets, head="responses")
    draws = students.predict(X, R, key=(*KEY, "draws"))
    return responses, targets, NumberTargets, draws, linear.estimate(draws)


def of_mlp(_folder):
    recipe = mlp.Recipe(steps=20)
    teacher = mlp.Teacher.fit(X, np.sin(3 * X[:, 1]), noise_var=0.5, recipe=recipe, key=KEY)
    design = mlp.SeedDesign.independent(S)
    responses = teacher.respond(X, K, students=design, key=(*KEY, "mlp"))
    targets = mlp.weigh(responses)
    students = mlp.distill(X, targets, head="responses", recipe=recipe, seed_design=design, key=(*KEY, "mlp"))
    draws = students.predict(X, R, key=(*KEY, "draws"))
    return responses, targets, NumberTargets, draws, mlp.estimate(draws)


def of_mlp_classes(_folder):
    recipe = mlp.Recipe(steps=20)
    teacher = mlp.Teacher.fit(X, (X[:, 1] > 0).astype(int), classes=2, recipe=recipe, key=KEY)
    design = mlp.SeedDesign.independent(S)
    responses = teacher.respond(X, K, students=design, key=(*KEY, "mlp"))
    targets = mlp.weigh(responses, classes=2)
    students = mlp.distill(X, targets, recipe=recipe, seed_design=design, key=(*KEY, "mlp"))
    draws = students.predict(X, R, key=(*KEY, "draws"))
    return responses, targets, ClassTargets, draws, mlp.estimate(draws)


def of_classify(_folder):
    how = {"factory": lambda: classify.perceptron(2, 2), "recipe": classify.Recipe(steps=20)}
    teacher = classify.Teacher.fit(X, (X[:, 1] > 0).astype(int), classes=2, key=(*KEY, "teacher"), **how)
    design = classify.SeedDesign.independent(S)
    responses = teacher.respond(X, K, students=design, key=(*KEY, "classify"))
    targets = classify.weigh(responses, classes=2)
    objective = classify.Distillation(1.0, weight=1.0)
    students = classify.distill(X, targets, objective=objective, seed_design=design, key=(*KEY, "classify"), **how)
    draws = students.predict(X, R, key=(*KEY, "draws"))
    return responses, targets, ClassTargets, draws, classify.estimate(draws)


def of_llm(folder):
    world = llm.World.make(groups=2, entities=2, key=KEY)
    coder = tokenizer(world)
    encoder = llm.Encoder(coder, False, vocabulary=len(coder), context=64, model_eos=(coder.eos_token_id,))
    prompts = world.prompts(relations=["home", "food", "wish"])
    prompts = prompts.select(list(range(P))[: len(prompts)])
    words = prompts.answers[0]

    def answer(request):
        word = words[int(seeds.drawn_from(request.seed).integers(len(words)))]
        ids = (*coder(word, add_special_tokens=False)["input_ids"], encoder.eos_id)
        return Completion(ids, word, (0.0,) * len(ids), "stop")

    teacher, sampling = ToyTeacher(answer, encoder=encoder), llm.Sampling(max_tokens=6)
    bank = llm.Bank(folder / "bank")
    responses = teacher.respond(prompts, K, students=S, key=(*KEY, "llm"), sampling=sampling, bank=bank)
    targets = llm.weigh(responses)
    students = llm.distill(
        targets, student=Size(16, 32, 1, 2).config(len(coder)), encoder=encoder, recipe=llm.Recipe(steps=4, batch=4),
        seed_design=llm.SeedDesign.independent(S), key=(*KEY, "llm"),
    )  # fmt: skip
    draws = students.predict(prompts, R, key=(*KEY, "draws"), sampling=sampling)
    return responses, targets, llm.TextTargets, draws, llm.estimate(draws)


@pytest.mark.parametrize("layer", [of_linear, of_mlp, of_mlp_classes, of_classify, of_llm])
def test_every_verb_takes_what_the_one_before_it_gave(layer, tmp_path):
    responses, targets, kind, draws, estimates = layer(tmp_path)
    prompts = targets.prompts
    assert responses.shape == targets.shape == (S, prompts, K)
    assert isinstance(targets, kind)
    assert isinstance(targets, Targets)
    assert (targets.students, targets.method) == (S, "multi")
    assert draws.shape == (S, prompts, R)
    if isinstance(estimates, Measured):
        assert np.isfinite(estimates.of("inter_gini")[0])
    else:
        assert estimates.inter.shape == estimates.intra.shape == estimates.total.shape == (prompts,)
        np.testing.assert_allclose(estimates.inter + estimates.intra, estimates.total, atol=1e-12)


def test_a_seed_design_shares_responses_by_level_in_both_layers_of_networks():
    design = mlp.SeedDesign.crossed({"responses": 2, "initialisation": 2})
    recipe, labels = mlp.Recipe(steps=5), (X[:, 1] > 0).astype(int)
    teachers = (
        mlp.Teacher.fit(X, labels, classes=2, recipe=recipe, key=KEY),
        classify.Teacher.fit(X, labels, classes=2, factory=lambda: classify.perceptron(2, 2), recipe=recipe, key=KEY),
    )
    for number, teacher in enumerate(teachers):
        drawn = teacher.respond(X, 20, students=design, key=(*KEY, "levels", number))
        np.testing.assert_array_equal(drawn[0], drawn[1])
        assert not np.array_equal(drawn[0], drawn[2])
        nested = teacher.respond(X, 5, students=design, key=(*KEY, "levels", number))
        np.testing.assert_array_equal(nested, drawn[:, :, :5])
