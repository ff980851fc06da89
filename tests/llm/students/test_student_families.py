"""Families of models as students, all parameters or adapters, tied and not: each learns what it is taught and is saved whole.

The truth is a plain forward pass of transformers' own class, as in `test_families.py`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from families import CASES, FAMILIES, PARTS, check_docs, save_family
from safetensors import safe_open

from uqkd.errors import OptionError
from uqkd.llm import Encoder, Lora, Prompts, Recipe, Responses, Sampling, SeedDesign, distill, weigh
from uqkd.llm.models.configuration import configuration
from uqkd.llm.students.networks.initializer import Initializer, saved
from uqkd.llm.students.networks.likelihood import row_table
from uqkd.llm.teachers import Request, complete, open_students

# What students of all parameters are taught, and what adapters are taught that sit on the first of these. One prompt is longer
# than the sliding window of eight tokens.
PROMPTS = ("w5 w27 w9 w1 w2 w3 w4 w6 w7 w8", "w4 w80")
TAUGHT = {"all parameters": ("w30 w31 w8", "w100 w44"), "LoRA": ("w77 w12", "w60")}
LORA = Lora(rank=8, alpha=64.0)
STEPS = 40
MORE_STEPS = 90  # for adapters of Mamba, which sit in one layer of each block only
STUDENTS = 2
EOS = 2
# float32: a logit goes through some 64 roundings in two layers and the head, each 6e-8 of the sums it is made of, which are as
# large as logits are; a difference of two of them through twice as many.
ROUNDING = 2 * 64 * 6e-8


@dataclass
class Seen:
    """What became of two students; or the line that they were refused with."""

    refused: str = ""
    before: float = 0.0  # loss of the model before it is taught, nats a response
    after: list[float] = field(default_factory=list)
    errors: list[float] = field(
        default_factory=list
    )  # of the log-likelihoods that are trained on, in units of rounding
    answers: list[list[tuple[int, ...]]] = field(default_factory=list)  # greedy, ends included
    reloaded: list[bool] = field(default_factory=list)  # every logit the same number
    rows_saved: int = 0  # tensors of a student's folder that are its embedding or its head
    config: dict = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)


@dataclass
class Served:
    """What vLLM answered for one student; or the line that it refused with."""

    refused: str = ""
    clear: int = 0  # tokens that are the most probable by more than rounding
    agree: int = 0  # of these those that vLLM chose too
    answers: list[tuple[int, ...]] = field(default_factory=list)
    engine: object = None


def numbers(words: str) -> tuple[int, ...]:
    return (*(4 + int(word[1:]) for word in words.split()), EOS)


@torch.inference_mode()
def logits(model, ids) -> torch.Tensor:
    """(L, V) of one sequence: no cache, no padding, no neighbours."""
    inputs = torch.tensor([list(ids)])
    return model(inputs, attention_mask=torch.ones_like(inputs), use_cache=False).logits[0].double()


def log_likelihood(model, ids, mask) -> float:
    logs = torch.log_softmax(logits(model, ids), -1)
    return sum(float(logs[t - 1, ids[t]]) for t in range(1, len(ids)) if mask[t])


def greedy(model, ids) -> tuple[int, ...]:
    said: tuple[int, ...] = ()
    while len(said) < 6 and (not said or said[-1] != EOS):
        said += (int(logits(model, (*ids, *said))[-1].argmax()),)
    return said


def rows_saved(model, folder: Path) -> int:
    """Tensors of a student's folder that are its embedding or its head, whatever they are called there."""
    both = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    (file,) = folder.glob("*.safetensors")
    with safe_open(file, "pt") as there:
        tensors = [there.get_tensor(name) for name in there.keys()]  # noqa: SIM118
    return sum(any(torch.equal(own, one) for one in both) for own in tensors)


def likelihood_error(path: Path, rows) -> tuple[float, float]:
    """Mean loss by plain forward passes, and how far the likelihoods that are trained on are from them."""
    template = Initializer.of(path).template.eval()
    plain = np.array([log_likelihood(template.model, *row) for row in rows])
    with torch.no_grad():
        trained_on = template(torch.from_numpy(row_table(rows))).double().numpy()
    # Each of the supervised tokens has the rounding of its own logit and of the largest one.
    scale = max(float(logits(template.model, ids).abs().max()) * sum(mask) for ids, mask in rows)
    return -float(plain.mean()), float(np.abs(trained_on - plain).max()) / (scale * ROUNDING)


def recipe(path: Path, kind: str) -> Recipe:
    one_layer = kind == "LoRA" and configuration(path)["model_type"] == "mamba"
    steps = MORE_STEPS if one_layer else STEPS
    return Recipe(steps=steps, optimiser="adamw", lr=1e-2, clip_norm=1.0, schedule="cosine", warmup=5)


def taught(path: Path, folder: Path, encoder: Encoder, *, kind: str, trainer: str) -> Seen:
    """Distil two students, save them, read them again."""
    prompts = Prompts(("a", "b"), PROMPTS)
    answers = Responses.gather(prompts, [encoder.response(said) for said in TAUGHT[kind]], (1, 2, 1))
    rows = [
        encoder.supervised(encoder.encode(asked), one) for asked, one in zip(PROMPTS, answers.distinct, strict=True)
    ]
    before, error = likelihood_error(path, rows)
    seen = Seen(before=before, errors=[error])
    try:
        made = distill(
            weigh(answers, "single"), student=path, encoder=encoder, recipe=recipe(path, kind),
            seed_design=SeedDesign.independent(STUDENTS),
            lora=LORA if kind == "LoRA" else None, key=("tests", "student families", folder.name), engine=trainer,
            perturbation=0.01,
        )  # fmt: skip
    except OptionError as refusal:
        return Seen(str(refusal))
    seen.folders = made.save(folder)
    for s, place in enumerate(seen.folders):
        student, again = made.student(s).eval(), saved(place).eval()
        seen.after.append(-float(np.mean([log_likelihood(student, *row) for row in rows])))
        seen.answers.append([greedy(again, encoder.encode(asked)) for asked in PROMPTS])
        seen.reloaded.append(all(torch.equal(logits(student, ids), logits(again, ids)) for ids, _ in rows))
    seen.rows_saved = rows_saved(made.student(0), seen.folders[0])
    config = seen.folders[0] / ("adapter_config.json" if kind == "LoRA" else "config.json")
    seen.config = json.loads(config.read_text(encoding="utf-8"))
    return seen


class Outcomes:
    """What became of each family; every student is trained once, and every engine started once."""

    def __init__(self, folder: Path, encoder: Encoder, make_model: Callable[..., Path]) -> None:
        self._folder, self._encoder, self._make_model = folder, encoder, make_model
        self._trained: dict[tuple[str, bool, str], Seen] = {}
        self._served: dict[str, dict[str, Served]] = {}

    def trained(self, family: str, tied: bool, kind: str) -> Seen:
        """Two students of a kind."""
        key = family, tied, kind
        if key not in self._trained:
            name = f"{family.replace(' ', '-')}-{'tied' if tied else 'untied'}"
            path, trainer = self._folder / name, "auto" if tied else "sequential"
            if kind == "LoRA":
                path = self.trained(family, tied, "all parameters").folders[0]
            else:
                save_family(family, path, self._make_model, tie_word_embeddings=tied)
            with warnings.catch_warnings():  # of architectures' own code, which a test cannot mend
                warnings.simplefilter("ignore")
                self._trained[key] = taught(
                    path, self._folder / f"{name}-{kind[:4]}", self._encoder, kind=kind, trainer=trainer
                )
        return self._trained[key]

    def served(self, family: str) -> dict[str, Served]:
        """What vLLM answers for the first student of each kind, tied: adapters and the model below them in one engine."""
        if family not in self._served:
            folders = [self.trained(family, True, kind).folders[0] for kind in TAUGHT]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    found = {
                        place: self._asked(one, folders[place])
                        for place, one in open_students(folders, dtype="float32")
                    }
                except OptionError as refusal:
                    found = dict.fromkeys(range(len(folders)), Served(str(refusal)))
            self._served[family] = {kind: found[place] for place, kind in enumerate(TAUGHT)}
        return self._served[family]

    def _asked(self, teacher, folder: Path) -> Served:
        prompts = [self._encoder.encode(asked) for asked in PROMPTS]
        drawn = complete(teacher, [Request(ids, 1) for ids in prompts], Sampling(temperature=0.0, max_tokens=6))
        model = saved(folder).eval()
        found = Served(answers=[tuple(one.token_ids) for one in drawn], engine=teacher.engine)
        for ids, one in zip(prompts, found.answers, strict=True):
            values, order = logits(model, (*ids, *one))[len(ids) - 1 : -1].topk(2)
            clear = (values[:, 0] - values[:, 1]).numpy() > 2 * ROUNDING * float(values.abs().max())
            found.clear += int(clear.sum())
            found.agree += int((order[:, 0].numpy() == np.array(one))[clear].sum())
        return found


@pytest.fixture(scope="module")
def outcomes(tiny, make_model, tmp_path_factory) -> Outcomes:
    # transformers gives every Qwen2 the tokenizer of the first one: here all have the tests' own.
    encoder = Encoder(Encoder.of(tiny).tokenizer, False, vocabulary=256, context=64, model_eos=(EOS,))
    return Outcomes(tmp_path_factory.mktemp("students"), encoder, make_model)


@pytest.mark.parametrize("kind", TAUGHT)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", CASES)
def test_each_family_learns_is_saved_and_read_again_or_is_refused_in_one_line(outcomes, family, tied, kind):
    seen = outcomes.trained(family, tied, kind)
    if seen.refused:
        assert "\n" not in seen.refused
        return
    assert max(seen.errors) < 1.0
    assert len(seen.folders) == STUDENTS
    assert max(seen.after) < 0.1 * seen.before
    assert seen.answers == [[numbers(said) for said in TAUGHT[kind]]] * STUDENTS  # the words, and the end
    assert seen.reloaded == [True] * STUDENTS
    if kind == "LoRA":
        assert seen.rows_saved == 0  # the adapter is alone
        return
    assert seen.rows_saved == (1 if tied else 2)
    assert seen.config["tie_word_embeddings"] is tied
    assert seen.config.get("use_cache", True)  # or whoever asks the student waits for the square of the length


@pytest.mark.engine
@pytest.mark.parametrize("family", CASES)
def test_vllm_answers_as_transformers_does_or_refuses_in_one_line(outcomes, family):
    for kind, seen in outcomes.served(family).items():
        if seen.refused:
            assert "\n" not in seen.refused
            continue
        assert seen.agree == seen.clear > 4
        assert seen.answers == [numbers(said) for said in TAUGHT[kind]]


def table(outcomes) -> str:
    """The part of docs/families.md that is about students, as this run makes it."""
    lines = [
        PARTS[1], "",
        "Made by `tests/llm/students/test_student_families.py`, which distils two tiny students of every family. *Passes*: the",
        "loss is that of one plain forward pass and falls below a tenth; the most probable answer is what was taught, and its",
        "end; read again from its folder the student gives the same logits to the bit; tied weights are one tensor, untied ones",
        "two; an adapter's folder holds the adapter alone. Otherwise the line that is printed before any work. vLLM (on a CPU):",
        "the most probable answers of whole students and of adapters are those of transformers.", "",
        "| family | all parameters, tied | all parameters, untied | LoRA, tied | LoRA, untied | vLLM |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for family in FAMILIES:
        cells = [outcomes.trained(family, tied, kind).refused or "passes" for kind in TAUGHT for tied in (True, False)]
        whole, adapter = outcomes.served(family).values()
        how = "on the running model" if adapter.engine is whole.engine else "merged"
        cells.append(whole.refused or adapter.refused or f"passes, adapters {how}")
        lines.append(f"| {family} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@pytest.mark.wide
@pytest.mark.engine
def test_the_table_in_the_docs_is_what_is_seen(outcomes):
    check_docs(table(outcomes))


def test_names_of_layers_are_looked_up_in_the_model(tiny):
    """PEFT leaves out a misspelt name if another one fits: fewer adapters than were asked for, and not a word."""
    for modules in (("q_prj",), ("v_proj", "q_prj")):
        with pytest.raises(
            OptionError, match=r"modules of Lora got 'q_prj'; did you mean 'q_proj'\? Valid: 'all-linear', 'down_proj'"
        ):
            Initializer.of(tiny, lora=Lora(modules=modules))
    with pytest.raises(OptionError, match="modules of Lora got 'lm_head'"):
        Initializer.of(tiny, lora=Lora(modules=("lm_head",)))
    some = Initializer.of(tiny, lora=Lora(rank=1, modules=("q_proj", "1.mlp.down_proj"))).template
    assert sum(name.endswith("lora_A.default.weight") for name, _ in some.named_parameters()) == 3


@pytest.mark.parametrize(("family", "layer"), [("Mamba", "x_proj"), ("Mamba", "dt_proj"), ("Mamba-2", "out_proj")])
def test_an_adapter_that_the_scan_would_pass_by_is_refused(family, layer, make_model, tmp_path):
    path = save_family(family, tmp_path / "m", make_model)
    with pytest.raises(
        OptionError, match=rf"adapters cannot sit on '{layer}' of 'mamba2?': .* use modules=\('in_proj',\)"
    ):
        Initializer.of(path, lora=Lora(modules=(layer,)))
    if layer == "dt_proj":  # what PEFT alone makes of it
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        model = get_peft_model(AutoModelForCausalLM.from_pretrained(path), LoraConfig(target_modules=[layer])).train()
        assert not model(torch.tensor([[4, 9, 30]]), use_cache=False).logits.requires_grad  # no adapter is in it
