"""Training in place: exact gradients however a batch is cut, processes, precision, early stops, and stops of the process."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from uqkd import seeds
from uqkd.errors import OptionError, ProvenanceError
from uqkd.llm import Encoder, Lora, Recipe, Responses, SeedDesign, World, distill, weigh
from uqkd.llm.students.networks.initializer import Initializer
from uqkd.llm.students.rows.training_rows import training_rows
from uqkd.llm.students.training.checkpoints import FolderCheckpoint
from uqkd.llm.students.training.engine_choice import chosen_engine
from uqkd.llm.students.training.micro_batches import micro_batches
from uqkd.llm.students.training.resuming import Keep
from uqkd.llm.students.training.ways_to_train import Compute, _parts
from uqkd.llm.synthetic.testbed import Size, tokenizer
from uqkd.stacked import Stacked, train
from uqkd.stacked.engines.one_module import train_alone
from uqkd.stacked.engines.sequential import in_place
from uqkd.store import Mirror

SIZE = Size(16, 32, 2, 2)
RECIPE = Recipe(steps=24, batch=5, optimiser="adamw", lr=5e-3, clip_norm=1.0, schedule="cosine")


@pytest.fixture(scope="module")
def world():
    return World.make(groups=2, entities=2, key=("test", "training"))


@pytest.fixture(scope="module")
def encoder(world):
    coder = tokenizer(world)
    return Encoder(coder, False, vocabulary=len(coder), context=64, model_eos=(coder.eos_token_id,))


@pytest.fixture(scope="module")
def base(world, encoder, tmp_path_factory):
    """A saved model with tied embeddings."""
    from transformers import LlamaForCausalLM

    folder = tmp_path_factory.mktemp("base")
    with seeds.torch_stream("test", "training", "base"):
        config = SIZE.config(len(encoder.tokenizer))
        config.tie_word_embeddings = True
        LlamaForCausalLM(config).save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    return folder


def targets(world, encoder, students=1):
    prompts = world.prompts(relations=["home", "food", "craft"])
    made = [
        encoder.response(options[(s + r) % len(options)])
        for s in range(students) for options in prompts.answers for r in range(3)
    ]  # fmt: skip
    return weigh(Responses.gather(prompts, made, (students, len(prompts), 3)), "multi")


def gradients(student, rows, order, weights, **cut):
    student.zero_grad()
    total = 0.0
    for part in _parts(student, rows, order, weights, **cut):
        share = part()
        share.backward()
        total += float(share.detach())
    return total, torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])


@pytest.mark.parametrize("rows_at_most", [1, 2, 3])
def test_the_gradient_is_that_of_the_whole_batch_however_it_is_cut(world, encoder, base, rows_at_most):
    """Uneven weights, seven rows in pieces of 1, 2 and 3 with a last one of 1, and a row that comes twice."""
    student = Initializer.of(base).template.double()
    all_rows = training_rows(
        targets(world, encoder), encoder, recipe=RECIPE, seed_design=SeedDesign.independent(1), key=("t",)
    )
    order = np.array([0, 3, 5, 1, 8, 8, 2])
    weights = np.linspace(0.2, 3.0, len(all_rows.learnt))
    whole, expected = gradients(student, all_rows, order, weights, rows_at_most=len(order))
    loss, found = gradients(student, all_rows, order, weights, rows_at_most=rows_at_most)
    # The log-likelihoods are weighed in float32 (6e-8 relative); everything else is float64. A mean of means is off by 10 %.
    assert loss == pytest.approx(whole, rel=1e-6)
    assert float((found - expected).norm() / expected.norm()) < 1e-6
    means = [
        float(part().detach())
        for part in _parts(student, all_rows, order, np.ones_like(weights), rows_at_most=rows_at_most)
    ]
    assert sum(means) != pytest.approx(whole, rel=1e-2)  # weights count


def test_pieces_hold_every_row_once_and_the_longest_first():
    lengths = np.array(seeds.generator("tests", "lengths", shared=True).integers(3, 90, size=200))
    order = seeds.generator("tests", "order", shared=True).permutation(200)[:64]
    pieces = list(micro_batches(order, lengths, lengths // 2, vocabulary=50_000))
    assert sorted(np.concatenate(pieces)) == sorted(order)
    assert all((np.diff(lengths[piece]) <= 0).all() for piece in pieces)
    small = list(micro_batches(order, lengths, lengths // 2, vocabulary=50_000_000))
    assert len(small) == 64  # the logits of one row fill the room


WORKER = """
import sys, numpy as np, torch
from uqkd.stacked import Recipe
from uqkd.stacked.engines.processes import joined
from uqkd.stacked.engines.one_module import train_alone
torch.manual_seed(0)
line = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2)).double()
x, y = torch.randn(11, 5).double(), torch.randn(11, 2).double()
w = torch.linspace(0.1, 3.0, 11).double()
def parts(step):
    for start in range(0, 11, 3):
        piece = slice(start, start + 3)
        yield lambda piece=piece: ((line(x[piece]) - y[piece]).square().sum(1) * w[piece]).sum() / 11
with joined("cpu") as processes:
    done = train_alone(line, Recipe(steps=3, optimiser="sgd", lr=0.05, clip_norm=0.5), parts, processes=processes)
    kept = [*(p.detach() for p in line.parameters()), torch.tensor(done.loss), torch.tensor(processes.count)]
    torch.save(kept, sys.argv[1] + str(processes.number))
"""


@pytest.mark.slow
@pytest.mark.process
def test_two_processes_take_the_steps_of_one(tmp_path):
    """Gloo adds the gradients of four micro-batches, of which one process has two and the last is short."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script, str(tmp_path / "one-")], check=True, env=environment, timeout=300)
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script]
    subprocess.run([*line, str(tmp_path / "two-")], check=True, env=environment, timeout=300, capture_output=True)
    one, first, second = (torch.load(tmp_path / name, weights_only=True) for name in ("one-0", "two-0", "two-1"))
    assert (int(one[-1]), int(first[-1]), int(second[-1])) == (1, 2, 2)
    for a, b, c in zip(one[:-1], first[:-1], second[:-1], strict=True):
        assert torch.equal(b, c)
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-14)  # float64 sums in another order


def test_bfloat16_keeps_master_weights(world, encoder, base):
    made = {}
    for precision in ("float32", "bfloat16"):
        made[precision] = distill(
            targets(world, encoder), student=base, encoder=encoder, recipe=RECIPE,
            seed_design=SeedDesign.independent(1), key=("t", "p"),
            dtype=precision, engine="sequential",
        )  # fmt: skip
    parameters = {name: dict(one.student(0).named_parameters()) for name, one in made.items()}
    assert {p.dtype for p in parameters["bfloat16"].values()} == {torch.float32}
    # bfloat16 has 8 bits: losses of about 3 nats are rounded by some 1e-2 in all; another computation differs from them by more.
    assert made["bfloat16"].loss[0] == pytest.approx(made["float32"].loss[0], rel=0.1)
    assert made["bfloat16"].loss[0] != made["float32"].loss[0]
    moved = [
        float((p - parameters["float32"][name]).detach().abs().max()) for name, p in parameters["bfloat16"].items()
    ]
    assert max(moved) > 0
    few = sum(int((p != p.bfloat16().float()).sum()) for p in parameters["bfloat16"].values())
    assert few > 0.9 * sum(p.numel() for p in parameters["bfloat16"].values())  # not rounded to bfloat16 on the way


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_recomputed_activations_change_nothing(world, encoder, base, lora):
    how = {
        "encoder": encoder,
        "recipe": RECIPE,
        "seed_design": SeedDesign.independent(1),
        "engine": "sequential",
        "lora": lora,
    }
    made = [
        distill(targets(world, encoder), student=base, key=("t", "r"), recompute=recompute, **how)
        for recompute in (False, True)
    ]
    one, other = (dict(m.student(0).named_parameters()) for m in made)
    assert all(torch.equal(p, other[name]) for name, p in one.items())  # the same operations in the same order


def test_a_student_stops_early_and_takes_back_its_best(world, encoder, base):
    recipe = replace(RECIPE, steps=200, lr=3e-2, schedule="constant", patience=2, validate_every=5)
    seen = []
    for trainer in ("sequential", "stacked"):
        steps = []
        students = distill(
            targets(world, encoder), student=base, encoder=encoder, recipe=recipe,
            seed_design=SeedDesign.independent(1), key=("t", "v"),
            validation=0.3, engine=trainer, watch=lambda moment, steps=steps: steps.append(moment.step),
        )  # fmt: skip
        seen.append((max(steps) + 1, students.predict_proba(world.prompts(relations=["home"]))))
    assert seen[0][0] < 200
    # Float32 in another order; the chosen evaluation and its parameters are the same.
    np.testing.assert_allclose(seen[0][1], seen[1][1], atol=5e-3)
    with pytest.raises(OptionError, match="early stopping needs a share"):
        distill(targets(world, encoder), student=base, encoder=encoder, recipe=RECIPE,
            seed_design=SeedDesign.independent(1), key=("t",),
                validation=0.3)  # fmt: skip


def test_tied_embeddings_stay_tied_in_both_trainers(world, encoder, base, tmp_path):
    """R5: the Trainer's way raised KeyError: 'model.lm_head.weight'."""
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    for trainer in ("stacked", "sequential"):
        students = distill(
            targets(world, encoder, 2), student=base, encoder=encoder, recipe=RECIPE, seed_design=SeedDesign.independent(2),
            key=("t", "tied"), engine=trainer,
        )  # fmt: skip
        (folder, _) = students.save(tmp_path / trainer)
        with safe_open(folder / "model.safetensors", "pt") as file:
            assert not [name for name in file.keys() if "lm_head" in name]  # noqa: SIM118
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert model.lm_head.weight is model.model.embed_tokens.weight
        ids = torch.tensor([[5, 6, 7]])
        with torch.no_grad():
            assert torch.equal(model(ids).logits, students.student(0).eval()(ids).logits)


def test_the_way_is_chosen_by_size_and_by_what_is_asked(base):
    from transformers import GPT2Config

    small, adapters = Initializer.of(base), Initializer.of(base, lora=Lora(rank=2))
    other = Initializer.of(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=1))
    assert chosen_engine("auto", small, Compute()) == "stacked"
    assert chosen_engine("auto", adapters, Compute()) == "stacked"
    assert chosen_engine("auto", small, Compute(micro_batch=2)) == "sequential"
    assert chosen_engine("auto", other, Compute()) == "sequential"  # its Conv1D is no stacked layer
    with pytest.raises(OptionError, match="engine 'stacked' computes in float32"):
        chosen_engine("stacked", small, Compute(dtype="bfloat16"))


KILLED = """
import os, signal, sys
from pathlib import Path
from uqkd import seeds
from uqkd.llm import Bank, Encoder, Lora, Recipe, SeedDesign, distill, weigh
from uqkd.llm.students.networks.initializer import Initializer
from uqkd.llm.students.training.resuming import Keep
base, bank, out, trainer, lora, kills = sys.argv[1:7]
held = Bank(bank, create=False)
prompts, drawn = held.prompts()
targets = weigh(held.responses(prompts, students=2, k=drawn // 2, per_student=drawn // 2), "multi")
recipe = Recipe(steps=16, batch=5, optimiser="adamw", lr=5e-3, clip_norm=1.0, schedule="cosine")

LORAS = {"no": None, "all": Lora(rank=2, dropout=0.1), "last": Lora(rank=2, layers=1)}  # "last": frozen layers are cached

Initializer.of(base, lora=Lora(rank=2))  # what the children need is imported once

def trained(told):
    distill(targets, student=base, encoder=Encoder.of(base), recipe=recipe,
            seed_design=SeedDesign.independent(2), key=("t", "killed"),
            engine=trainer, lora=LORAS[lora],
            keep=Keep(Path(out), {"inputs": "a"}, every_s=0.0),
            watch=lambda moment: os.write(told, bytes([moment.student, moment.step])))

def attempt(kill_after):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            trained(writing)
            os._exit(0)
        except BaseException as problem:
            print(repr(problem), flush=True)
            os._exit(1)
    os.close(writing)
    seen = []
    while moment := os.read(reading, 2):
        seen.append(tuple(moment))
        if len(seen) == kill_after:
            os.kill(child, signal.SIGKILL)
    os.close(reading)
    return seen, os.waitpid(child, 0)[1]

chance, killed = seeds.generator("tests", "kills", trainer, lora, shared=True), 0
while True:
    seen, status = attempt(int(chance.integers(1, 4)) if killed < int(kills) else None)
    print(16 * seen[0][0] + seen[0][1], len(seen), "killed" if os.WIFSIGNALED(status) else "ended", flush=True)
    if not os.WIFSIGNALED(status):
        sys.exit(os.WEXITSTATUS(status))
    killed += 1
"""


@pytest.fixture(scope="module")
def bank(world, base, tmp_path_factory):
    """Six responses to each prompt, imported."""
    from uqkd.llm.bank import Bank
    from uqkd.llm.bank.importing.importing import import_responses

    folder = tmp_path_factory.mktemp("bank")
    prompts = world.prompts(relations=["home", "food"])
    lines = [
        json.dumps({"prompt": text, "id": name, "responses": [answers[r % len(answers)] for r in range(6)]})
        for name, text, answers in zip(prompts.ids, prompts.texts, prompts.answers, strict=True)
    ]
    (folder / "answers.jsonl").write_text("\n".join(lines))
    import_responses(folder / "answers.jsonl", Bank(folder / "bank"), teacher="somebody")
    return folder / "bank"


def contents(root):
    """Weights of every student, and its loss."""
    return {
        path.relative_to(root): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name in ("model.safetensors", "adapter_model.safetensors", "distilled.json")
    }


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("trainer", "lora"),
    [
        ("sequential", "no"),
        ("stacked", "last"),
        *(
            pytest.param(*both, marks=pytest.mark.wide)
            for both in (("sequential", "all"), ("sequential", "last"), ("stacked", "all"))
        ),
    ],
)
def test_ten_kills_end_with_the_same_bytes(base, bank, tmp_path, trainer, lora):
    """SIGKILL after one to three steps, ten times; what is finished is not trained again, and nothing differs in the end."""
    script = tmp_path / "train.py"
    script.write_text(KILLED)

    def run(out, kills):
        line = [sys.executable, script, base, bank, tmp_path / out, trainer, lora, kills]
        return subprocess.run(
            [str(word) for word in line], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=600,
            capture_output=True, text=True,
        ).stdout.splitlines()  # fmt: skip

    run("whole", 0)
    lines = [line.split() for line in run("stopped", 10)]
    assert [end for *_, end in lines] == ["killed"] * 10 + ["ended"]
    begun, made = (np.array([int(line[column]) for line in lines]) for column in (0, 1))
    # A student tells of a step before its state is written, so a kill costs that step at most.
    assert (begun[1:] >= begun[:-1] + made[:-1] - 1).all()
    assert begun[-1] > 0
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert not (tmp_path / "stopped" / ".training").exists()


def test_students_of_other_inputs_are_not_mixed_nor_their_checkpoints(tmp_path):
    place = Keep(tmp_path, {"inputs": "a", "lr": 1})
    place.checkpoint("0").save({"x": torch.ones(1)}, {"made": 1})
    assert place.checkpoint("0").load() is not None
    assert Keep(tmp_path, {"inputs": "b"}).checkpoint("0").load() is None
    (tmp_path / "student-0").mkdir()
    from uqkd.store import commit_folder

    (tmp_path / "student-0").rmdir()
    commit_folder(
        tmp_path,
        "student-0",
        lambda folder: (folder / "distilled.json").write_text('{"inputs": "a", "lr": 1}') and None,
    )
    assert list(place.finished()) == [0]
    with pytest.raises(ProvenanceError, match="lr: 1 there, 2 now"):
        Keep(tmp_path, {"inputs": "b", "lr": 2}).finished()


def test_a_damaged_checkpoint_is_not_begun_from(tmp_path):
    place = FolderCheckpoint(tmp_path, "x", inputs="a", every_s=0.0)
    place.save({"x": torch.ones(3)}, {"made": 1})
    (file,) = tmp_path.rglob("state.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert FolderCheckpoint(tmp_path, "x", inputs="a").load() is None


def test_checkpoints_wait_for_their_time(tmp_path):
    place = FolderCheckpoint(tmp_path, "x", inputs="a", every_s=0.2)
    assert not place.due()
    time.sleep(0.25)
    assert place.due()
    place.save({"x": torch.ones(3)}, {"made": 1})
    assert not place.due()
    assert len(list(Path(tmp_path).rglob("about.json"))) == 1  # the one before is gone


def classifier():
    return torch.nn.Sequential(torch.nn.Embedding(50, 6), torch.nn.Flatten(1), torch.nn.Linear(24, 3))


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_large_classifiers_train_in_place_as_small_ones_do(optimiser):
    """The sequential engine against the stacked step, with batches, weights of their own, clipping and early stopping."""
    from uqkd.stacked import batch_orders, stack

    rng = seeds.generator("tests", "classifiers", shared=True)
    X, y = rng.integers(0, 50, size=(40, 4)), np.eye(3)[rng.integers(0, 3, size=(2, 40))]
    recipe = Recipe(steps=30, batch=8, optimiser=optimiser, lr=0.01, clip_norm=0.5, patience=3, validate_every=5)
    how = {"loss": "cross_entropy", "orders": batch_orders(40, 8, 30, [0, 1], key=("t", "c")), "validation": (X, y)}
    found = {}
    for engine in ("eager", "sequential"):
        model = stack(classifier, 2, key=("t", "classifier"))
        done = train(model, X, y, recipe, engine=engine, **how)
        found[engine] = (done, {name: value.clone() for name, value in model.parameters_by_name().items()})
    assert found["sequential"][0].engine == "sequential"
    np.testing.assert_array_equal(found["sequential"][0].stopped_at, found["eager"][0].stopped_at)
    # Float32 on the way of 30 steps: Adam moves by a rate of .01 whatever the gradient, rounding moves it by 1e-4 of that.
    for name, value in found["eager"][1].items():
        assert torch.allclose(found["sequential"][1][name], value, rtol=1e-4, atol=2e-5)


def test_a_diverged_student_is_told_and_keeps_its_last_finite_parameters():
    line = torch.nn.Linear(1, 1, bias=False)
    poison = {2: float("nan")}

    def parts(step):
        return [lambda: (line(torch.ones(1, 1)) * poison.get(step, 1.0)).sum()]

    done = train_alone(line, Recipe(steps=5, optimiser="sgd", lr=0.1), parts)
    assert (done.failed_at, done.made) == (2, 2)
    assert torch.isfinite(line.weight).all()


def test_a_student_in_place_is_a_part_of_the_model():
    model = Stacked.of(classifier(), 3)
    student = in_place(model, 1)
    with torch.no_grad():
        for p in student.parameters():
            p.fill_(7.0)
    for value in model.parameters_by_name().values():
        assert (value[1] == 7.0).all()
        assert not (value[[0, 2]] == 7.0).any()


def test_what_cannot_be_stacked_names_a_trainer_that_there_is():
    """It named trainer='transformers' after that was gone."""
    from uqkd.llm.students.networks.likelihood import know_leaves
    from uqkd.llm.students.training.engine_choice import ENGINES

    odd = type("OddRMSNorm", (torch.nn.Module,), {})
    with pytest.raises(OptionError, match="'0' of class OddRMSNorm: its formula was not checked") as told:
        know_leaves(torch.nn.Sequential(odd()))
    (named,) = re.findall(r"engine='(\w+)'", str(told.value))
    assert named in ENGINES


@pytest.mark.slow
def test_a_checkpoint_at_a_url_is_begun_from_by_another_machine(s3, tmp_path):
    places = [Mirror(s3.root, tmp_path / name) for name in ("one", "two")]
    one, two = (FolderCheckpoint(m.root, "0", inputs="a", every_s=0.0, mirror=m) for m in places)
    for made in (1, 2):
        one.save({"w": torch.full((3,), float(made))}, {"made": made})
    tensors, about = two.load()
    assert (tensors["w"].tolist(), about) == ([2.0, 2.0, 2.0], {"made": 2})
    assert len({key.rsplit("/", 1)[0] for key in s3.keys_below(s3.root)}) == 1  # the one before is gone there too
    two.clear()
    assert s3.keys_below(s3.root) == []
    assert one.load() is None
