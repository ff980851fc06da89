"""The ten changes that measure the house, made for real on a copy of the tree: each touches at most two source files.

Every test writes the change, runs it as a user would, in a process of its own that imports the copy, and counts the files that
now differ from ours. (The ninth, the level of all intervals, is with the intervals.)
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from uqkd.run.provenance.fingerprint import method_fingerprint

pytestmark = [pytest.mark.slow, pytest.mark.process]

ROOT = Path(__file__).parents[1]
PARTS = ("uqkd", "studies")


class Tree:
    """A copy of the source to be changed."""

    def __init__(self, place):
        self.place = place
        for part in PARTS:
            shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__", "questions"))

    def write(self, path, text):
        """A file that was not there."""
        assert not (self.place / path).exists()
        (self.place / path).write_text(text)

    def edit(self, path, old, new):
        """One place of a file that is there."""
        text = (self.place / path).read_text()
        assert text.count(old) == 1, f"{path} holds {text.count(old)} of {old!r}"
        (self.place / path).write_text(text.replace(old, new))

    def changed(self):
        """The source files that are not as ours."""
        found = []
        for part in PARTS:
            for file in (self.place / part).rglob("*"):
                ours = ROOT / file.relative_to(self.place)
                if file.suffix in (".py", ".cpp") and not (ours.is_file() and filecmp.cmp(file, ours, shallow=False)):
                    found.append(str(file.relative_to(self.place)))
        return sorted(found)

    def run(self, *arguments, fails=False):
        """What a Python of its own prints with the copy in the place of ours."""
        paths = {"PYTHONPATH": str(self.place), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self.place,
            env={**os.environ, **paths},
            capture_output=True,
            text=True,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def python(self, code):
        """The same for a piece of code, which is made sure to run the copy."""
        return self.run(
            "-c", f"import uqkd\nassert uqkd.__file__.startswith({str(self.place)!r}), uqkd.__file__\n{code}"
        )

    def uqkd(self, *arguments, fails=False):
        """The same for the command line."""
        return self.run("-m", "uqkd", *arguments, fails=fails)


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "tree")


# --------------------------------------------------------------------------------------------------- 1. a way to weigh text

LONGEST = '''
"""All the weight on the longest text."""
import numpy as np
from uqkd.llm.responses import Responses, TextTargets

SECOND = None
CHOOSES = True


def weighed(responses):
    lengths = np.array([len(one.text) for one in responses.distinct])[responses.index]
    chosen = np.take_along_axis(responses.index, lengths.argmax(axis=2)[..., None], axis=2)
    return TextTargets(Responses(responses.prompts, responses.distinct, chosen), np.ones(chosen.shape), "longest")
'''


def test_1_a_way_to_weigh_text(tree):
    tree.write("uqkd/llm/targets/longest.py", LONGEST)
    said = tree.python("""
from uqkd.llm import Prompts, Response, Responses, weigh
from uqkd.llm.targets import method_names, responses_kept
answers = Responses(Prompts(("a",), ("?",)), (Response((5,), "no"), Response((6,), "maybe")), [[[0, 1, 0]]])
made = weigh(answers, "longest")
print(method_names(), responses_kept("longest", 3), made.responses.texts(0, 0), made.weights.tolist())
""")
    assert said.strip() == "('longest', 'medoid', 'multi', 'precision', 'reranked', 'single') 1 ['maybe'] [[[1.0]]]"
    options = ("--bank", "nowhere", "--student", "none", "--out", "out", "--weights")
    assert "did you mean 'longest'? Valid: 'longest', 'medoid'" in tree.uqkd("distill", *options, "longst", fails=True)
    assert "nowhere" in tree.uqkd("distill", *options, "longest", fails=True)  # a known one: it goes on to the bank
    assert tree.changed() == ["uqkd/llm/targets/longest.py"]


# ------------------------------------------------------------------------------------------------------ 2. a teacher backend

ECHO = '''
"""Says the prompt."""
from uqkd.llm.teachers.servers.text_only import TextOnly
from uqkd.llm.requests import Completion, TeacherInfo


class Echo:
    def __init__(self, name_or_path, *, dtype, device, chat):
        self.about = TeacherInfo(str(name_or_path), "1", "echo", "1", "none", "none", True)
        self.encoder = TextOnly()

    def stream(self, requests, sampling):
        for place, request in enumerate(requests):
            yield place, Completion(None, request.turns[-1][1], None, "stop")

    def close(self):
        pass


open_backend = Echo
'''


def test_2_a_teacher_backend(tree, tmp_path):
    tree.write("uqkd/llm/teachers/backends/echo.py", ECHO)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "capital of Italy ?"}\n{"prompt": "two plus two ?"}\n')
    common = ("sample", "--teacher", "me", "--prompts", prompts, "--k", 2, "--bank", tmp_path / "bank", "--backend")
    assert "4 responses drawn, 0 reused, 0 flagged" in tree.uqkd(*common, "echo")
    assert "0 responses drawn, 4 reused" in tree.uqkd(*common, "echo")
    assert "did you mean 'echo'? Valid: 'echo', 'openai'" in tree.uqkd(*common, "ehco", fails=True)
    table = tree.python(
        f"from uqkd.llm.bank import Bank; print(Bank({str(tmp_path / 'bank')!r}).table()['text'].tolist())"
    )
    assert table.count("capital of Italy ?") == table.count("two plus two ?") == 2
    assert tree.changed() == ["uqkd/llm/teachers/backends/echo.py"]


# -------------------------------------------------------------------------------------------------- 3. a source of randomness


def test_3_a_source_of_randomness(tree):
    """Dropout masks, which follow the order of the batches otherwise: a field of the design, and the file that draws them."""
    tree.edit(
        "uqkd/stacked/randomness/seed_design.py",
        "    bootstrap: Levels | None = None\n", "    bootstrap: Levels | None = None\n    dropout: Levels | None = None\n",
    )  # fmt: skip
    drawing = "uqkd/classify/classifiers.py"
    tree.edit(drawing, '"order", "bootstrap")', '"order", "bootstrap", "dropout")')
    tree.edit(
        drawing, "for level in seed_design.order],\n",
        "for level in (seed_design.order if seed_design.dropout is None else seed_design.dropout)],\n",
    )  # fmt: skip
    said = tree.python("""
import numpy as np
from torch import nn
from uqkd.classify import Distillation, Recipe, SeedDesign, distill, weigh
from uqkd.errors import OptionError
from uqkd.estimators import mean_variance_components
from uqkd.stacked import SOURCES

X = np.linspace(-1, 1, 24)[:, None]
target = weigh(np.stack([X[:, 0] < 0, X[:, 0] >= 0], axis=1) * 0.8 + 0.1, "soft")
def taught(design, key="dropout"):
    factory = lambda: nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    return distill(X, target, factory=factory, objective=Distillation(1.0, weight=1.0), recipe=Recipe(steps=6, batch=8),
                   seed_design=design, key=("ten changes", key)).predict_proba(X)[..., 0]

print(*SOURCES)
design = SeedDesign.crossed({"initialisation": 2, "dropout": 3})
print({name: level.tolist() for name, level in design.table().items()}, design.part(3, 2).dropout)
found = taught(design)
print("differ:", len({row.tobytes() for row in found}), "components:", *mean_variance_components(found, design.table()).effects)
alone = taught(SeedDesign.crossed({"dropout": 3}))
print("masks alone:", len({row.tobytes() for row in alone}), "again:", np.array_equal(alone, found[:3]))
drawn = SeedDesign.independent(2, dropout=True)
print(drawn.dropout, drawn.bootstrap, SeedDesign.independent(2).dropout)
plain = taught(SeedDesign.independent(3))
print("as the order:", np.array_equal(plain, taught(SeedDesign.independent(3, dropout=True))))
from uqkd import mlp
try:
    mlp.distill(X, mlp.weigh(X[None]), recipe=Recipe(steps=1), seed_design=SeedDesign.crossed({"dropout": 2}), key=("t",))
except OptionError as problem:
    print(problem)
""").splitlines()
    assert said == [
        "responses initialisation order bootstrap dropout",
        "{'initialisation': [0, 0, 0, 1, 1, 1], 'dropout': [0, 1, 2, 0, 1, 2]} [0 1]",
        "differ: 6 components: initialisation dropout residual",
        "masks alone: 3 again: True",
        "[0 1] None None",
        "as the order: True",
        "mlp.distill draws from responses, initialisation, order, bootstrap alone, and this design has levels of 'dropout'; "
        "leave it out.",
    ]
    assert len(tree.changed()) == 2


# ---------------------------------------------------------------------------------------------------------------- 4. a study

COIN = '''
"""How far is the share of heads from one half?"""
import pandas as pd

from uqkd import seeds
from uqkd.run import Options as Base
from uqkd.run import PositiveInt


class Options(Base):
    tosses: tuple[PositiveInt, ...] = (4, 64)


PRESETS = {"quick": Options(), "paper": Options(tosses=(4, 64, 1024))}


def cells(options):
    return [{"tosses": n} for n in options.tosses]


def measure(cell):
    heads = seeds.generator("coin", cell["tosses"]).integers(2, size=cell["tosses"]).mean()
    return pd.DataFrame([{"tosses": cell["tosses"], "distance": abs(heads - 0.5)}])


def main(options, run):
    table = run.cells(cells(options), measure)
    run.store.write_bytes("tables/coin.csv", table.to_csv(index=False).encode())
'''


def test_4_a_study(tree, tmp_path):
    tree.write("studies/coin.py", COIN)
    assert "coin: How far is the share of heads from one half?" in tree.uqkd("list")
    run = ("study", "coin", "--out", tmp_path / "results", "--workers", 1)
    assert "coin: 2 units computed, 0 read" in tree.uqkd(*run)
    assert "coin: 0 units computed, 2 read" in tree.uqkd(*run)
    assert (tmp_path / "results/tables/coin.csv").read_text().startswith("tosses,distance\n4,")
    assert "no option 'toses'; did you mean 'tosses'" in tree.uqkd(*run, "--set", "toses=8", fails=True)
    assert tree.changed() == ["studies/coin.py"]


# ------------------------------------------------------------------------------------------ 5. a calibration measure in tables

WORST = '''
def worst(probs: Any, labels: Any) -> Any:
    """Largest probability that the true class lacks."""
    array, truth = checked_probabilities(probs, labels)
    return float_or_array((1.0 - array[..., range(len(truth)), truth]).max(axis=-1))


@dataclass(frozen=True)
class Measure:
'''
SMALL = '{"tasks": ["digits"], "temperatures": [1.0], "weights": [1.0], "students": 2, "steps": 3, "batch": 32, '


def test_5_a_calibration_measure(tree):
    registry = "uqkd/estimators/calibration/measures.py"
    tree.edit(registry, "\n@dataclass(frozen=True)\nclass Measure:\n", WORST)
    tree.edit(registry, '    "aurc": ', '    "worst": Measure(worst, scaled=True),\n    "aurc": ')
    said = tree.python(f"""
from uqkd.estimators import summarise_classifier
from uqkd.run import load_study
probs, labels = [[[0.8, 0.2], [0.8, 0.2]], [[0.6, 0.4], [0.3, 0.7]]], [0, 1]
table = summarise_classifier(probs, labels).table()
print([round(float(value), 9) for value in table["worst"]], list(table).index("worst"))
study = load_study("classify_cud")
cells = study.module.cells(study.options("quick", {SMALL} "methods": ["teacher"]}}))
found = study.module.measure(cells[0])
print({{"worst", "worst_scaled"}} <= set(found["measure"]), len(found[found["measure"] == "worst"]), found["measure"].nunique())
""").splitlines()
    # two students, who lack .8 and .4 at most; one row for each student and one for the teacher; 15 measures and two
    assert said == ["[0.6, 0.2] 9", "True 3 17"]
    names = ("teacher_noise", "mlp_teacher_noise", "classify_cud")
    code = "from uqkd.run.provenance.fingerprint import method_fingerprint as of\nprint(*(of(f'studies/{name}.py') for name in %r))"
    now = tree.python(code % (names,)).split()
    kept = [method_fingerprint(ROOT / f"studies/{name}.py") == mine for name, mine in zip(names, now, strict=True)]
    assert kept == [True, True, False]  # the units of studies that measure no classifier stay valid
    assert tree.changed() == [registry]


# ------------------------------------------------------------------------------------------------------ 6. a data set by name

PLANE = """
def _plane() -> tuple[Any, str]:
    import pandas as pd

    from uqkd import seeds

    draw = seeds.generator("data", "plane").standard_normal((60, 3))
    frame = pd.DataFrame(draw, columns=["a", "b", "height"])
    return frame.assign(height=frame["a"] - 2 * frame["b"] + 0.1 * frame["height"]), "height"


# Data sets that the libraries carry"""


def test_6_a_data_set_by_name(tree, tmp_path):
    registry = "uqkd/data/tabular/loading.py"
    tree.edit(registry, "\n# Data sets that the libraries carry", PLANE)
    tree.edit(registry, '    "diabetes": _diabetes,\n', '    "diabetes": _diabetes,\n    "plane": _plane,\n')
    run = ("study", "estimator_bias", "--out", tmp_path, "--workers", 1, "--set", "replicates=20", "--data")
    assert "estimator_bias: " in tree.uqkd(*run, "plane")
    assert "plane" in (tmp_path / "tables/estimator_bias.csv").read_text()
    assert "data got 'plan'; did you mean 'plane'?" in tree.uqkd(*run, "plan", fails=True)
    assert tree.changed() == [registry]


# --------------------------------------------------------------------------------------------------------- 7. an object store


def test_7_an_object_store(tree):
    """Any file system of fsspec, the user's own too; what is in memory goes with its process."""
    tree.place.joinpath("coin.py").write_text(COIN)  # the user's file, not one of ours
    said = tree.python("""
import fsspec
from fsspec.implementations.memory import MemoryFileSystem
from uqkd.cli import main
from uqkd.store import Store

class Drawer(MemoryFileSystem):
    protocol, store, pseudo_dirs = ("drawer",), {}, [""]

fsspec.register_implementation("drawer", Drawer)
for place in ("memory://results", "drawer://results"):
    for _ in range(2):
        try:
            main(["study", "coin.py", "--out", place, "--workers", "1"])
        except SystemExit as ended:
            assert not ended.code
    print("rows", len(Store(place).read_study("coin")), Store(place).verify().ok)
print("kept apart", any("coin" in name for name in Drawer.store), any("drawer" in name for name in MemoryFileSystem.store))
""")
    lines = [line for line in said.splitlines() if not line.startswith("open ")]
    computed, rows = [line for line in lines if line.startswith("coin: ")], [s for s in lines if s.startswith("rows")]
    assert [line.split(" from ")[0] for line in computed] == [
        "coin: 2 units computed, 0 read", "coin: 0 units computed, 2 read",
    ] * 2  # fmt: skip
    assert rows == ["rows 2 2"] * 2
    assert lines[-1] == "kept apart True False"
    assert tree.changed() == []


# ------------------------------------------------------------------------------------------------------------ 8. an optimiser

LION = '''
"""Lion: along the sign of a decaying mean of gradients (Chen et al. 2023)."""
import torch
from uqkd.stacked.optimisers import State, along

OPTIONS = ("betas", "weight_decay")
KERNEL = None


def slots(recipe):
    return 1


def propose(recipe, parameters, gradients, state, rate):
    b1, b2 = recipe.betas
    moves = [torch.sign(b1 * m + (1 - b1) * g) for m, g in zip(state.slots[0], gradients)]
    new = tuple(p - along(rate, p) * (move + recipe.weight_decay * p) for p, move in zip(parameters, moves))
    return new, State(state.step + 1, (tuple(b2 * m + (1 - b2) * g for m, g in zip(state.slots[0], gradients)),))


class Lion(torch.optim.Optimizer):
    def __init__(self, parameters, recipe):
        super().__init__(parameters, {"lr": recipe.lr})
        self.recipe = recipe

    @torch.no_grad()
    def step(self):
        (b1, b2), decay = self.recipe.betas, self.recipe.weight_decay
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    m = self.state[p].setdefault("mean", torch.zeros_like(p))
                    p -= group["lr"] * (torch.sign(b1 * m + (1 - b1) * p.grad) + decay * p)
                    m.mul_(b2).add_(p.grad, alpha=1 - b2)


alone = Lion
'''
NETWORKS = """
import numpy as np
from uqkd import mlp
from uqkd.errors import OptionError
from uqkd.mlp import Recipe, SeedDesign, initialisation
from uqkd.stacked import Stacked, train

X = np.linspace(-1, 1, 20)[:, None] ** [1, 2]
y = X @ [1.0, -3.0] + 0.5
design, key = SeedDesign.independent(3), ("ten changes", "lion")
def taught(name, **options):
    recipe = Recipe(steps=25, lr=0.05, optimiser=name, betas=(0.8, 0.9), weight_decay=0.1)
    return mlp.distill(X, mlp.weigh(y[None, :, None]), hidden=(), recipe=recipe, seed_design=design, key=key, dtype="float64",
                       **options).parameters
def by_hand(weight, bias):
    theta, mean, design = np.r_[weight[0], bias], 0.0, np.c_[X, np.ones(len(X))]
    for _ in range(25):
        gradient = 2 * design.T @ (design @ theta - y) / len(X)
        theta = theta - 0.05 * (np.sign(0.8 * mean + 0.2 * gradient) + 0.1 * theta)
        mean = 0.9 * mean + 0.1 * gradient
    return theta
begun = initialisation((2, 1), design.initialisation, key=key)
wanted = np.array([by_hand(w, b) for w, b in zip(begun["0.weight"], begun["0.bias"])])
joined = lambda p: np.concatenate([p["0.weight"][:, 0], p["0.bias"]], axis=1)
for engine in ("auto", "eager", "sequential"):
    print(engine, np.abs(joined(taught("lion", engine=engine)) - wanted).max() < 1e-12)
print("adam is another:", np.abs(joined(taught("adam")) - wanted).max() > 0.1)
for ask in (lambda: taught("lion", engine="fused"), lambda: taught("lino")):
    try:
        ask()
    except OptionError as problem:
        print(problem)
"""
TEXTS = """
import sys
import torch
from transformers import AutoModelForCausalLM
from uqkd.llm import Encoder, Prompts, Recipe, Response, Responses, SeedDesign, distill, weigh
from uqkd.llm.students.rows.training_rows import training_rows

path, encoder = sys.argv[1], Encoder.of(sys.argv[1])
prompts = Prompts(("a", "b"), ("w5 w6", "w7"))
targets = weigh(Responses.gather(prompts, [Response(None, "w1"), Response(None, "w2")], (1, 2, 1)), "single")
def how(name):
    recipe = Recipe(steps=4, lr=0.01, optimiser=name, betas=(0.8, 0.9))
    return {"encoder": encoder, "recipe": recipe, "seed_design": SeedDesign.independent(1), "key": ("ten changes", "texts")}
def taught(name):
    return distill(targets, student=path, engine="sequential", **how(name)).student(0).state_dict()

model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
table = torch.as_tensor(training_rows(targets, **how("lion")).table()).long()
ids, learnt = table[:, 0], table[:, 1, 1:].bool()
means = [torch.zeros_like(p) for p in model.parameters()]
for _ in range(4):  # two rows of as many learnt tokens: a factor of the loss, which a sign does not see
    model.zero_grad()
    logits = model(input_ids=ids[:, :-1]).logits
    torch.nn.functional.cross_entropy(logits[learnt], ids[:, 1:][learnt], reduction="sum").backward()
    with torch.no_grad():
        for p, m in zip(model.parameters(), means):
            p -= 0.01 * torch.sign(0.8 * m + 0.2 * p.grad)
            m.mul_(0.9).add_(p.grad, alpha=0.1)
def apart(state):
    return sum(int(((state[n] - p).abs() > 0.004).sum()) for n, p in model.named_parameters()) / sum(
        p.numel() for p in model.parameters()
    )
print(f"{apart(taught('lion')):.4f} {apart(taught('adam')):.4f}")
"""


def test_8_an_optimiser(tree, make_model, tmp_path):
    tree.write("uqkd/stacked/optimisers/lion.py", LION)
    assert tree.python(NETWORKS).splitlines() == [
        "auto True",  # the kernel steps aside
        "eager True",
        "sequential True",
        "adam is another: True",
        "engine='fused' trains plain multilayer perceptrons on a CPU, by an optimiser that has a step for it; use 'auto' for this "
        "model and optimiser='lion'.",
        "optimiser got 'lino'; did you mean 'lion'? Valid: 'adam', 'adamw', 'lion', 'sgd'.",
    ]
    path = make_model(tmp_path / "model")
    (tmp_path / "texts.py").write_text(TEXTS)
    lion, adam = map(float, tree.run(tmp_path / "texts.py", path).split())
    # shares of all numbers that end half a step or more from the loop by hand: signs of gradients near zero may flip
    assert lion < 0.01
    assert adam > 0.2
    assert tree.changed() == ["uqkd/stacked/optimisers/lion.py"]


# ------------------------------------------------------------------------------------------------ 10. a target of classifiers

HALFWAY = '''
"""Halfway between the teacher and the labels."""
import numpy as np
from uqkd.classify.targets.methods import Target


def halfway(probs, *, labels):
    return 0.5 * np.asarray(probs) + 0.5 * np.eye(np.shape(probs)[1])[np.asarray(labels)]


TARGETS = (Target("groups of two halves", halfway, needs=("labels",), projection="halfway"),)
'''


def test_10_a_target_of_classifiers(tree):
    """Called as one that needs evidence would be, which this one does not say that it needs."""
    tree.write("uqkd/classify/targets/methods/halfway.py", HALFWAY)
    said = tree.python(f"""
import numpy as np
from uqkd.classify import METHODS, TargetFactory, project
from uqkd.run import load_study
TargetFactory.evidence = property(lambda self: 1 / 0)
print(METHODS[-1], len(METHODS), project([[0.6, 0.4]], "halfway", labels=[1]).probabilities.tolist())
study = load_study("classify_cud")
cells = study.module.cells(study.options("quick", {SMALL} "methods": ["groups of two halves"]}}))
found = study.module.measure(cells[0])
own = found[found["method"] == "groups of two halves"]
print(set(own["fired"]), sorted(set(found["method"])), len(own))
try:
    study.options("quick", {{"methods": ["groups of two halvs"]}})
except Exception as problem:
    print(str(problem)[:160])
""").splitlines()
    assert said[0] == "groups of two halves 14 [[[0.3, 0.7]]]"
    assert said[1] == "{1.0} ['groups of two halves', 'teacher'] 44"  # of 2 students 15 measures, of 1 teacher 14
    assert "did you mean 'groups of two halves'?" in said[2]
    assert tree.changed() == ["uqkd/classify/targets/methods/halfway.py"]
