"""Adapters of one model through one engine: each answers as the model that it was merged into, and the model as itself."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from families import CASES, save_family

from uqkd import seeds
from uqkd.errors import DataError, OptionError, WorkerError
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Request, complete, open_students, open_teacher
from uqkd.llm.teachers.backends.vllm import library
from uqkd.llm.teachers.backends.vllm.adapters import LAYERS, not_put_on, rank_of

PROMPTS = ((4, 9), (20,), (7, 8, 30, 31, 5, 100, 44, 12, 9, 9, 31, 77, 80, 81))
SAMPLING = Sampling(max_tokens=6)
# As in test_families: float32 through two layers, a logit of up to 10 rounded some 64 times. An adapter that does not act, or
# another one's, changes logits by tenths here.
BOUND = 8e-5
MERGED = ("GPT-2", "Falcon", "Mamba-2")


def save_adapter(base, path, number, *, rank=4, modules="all-linear", **more):
    """An adapter that changes the model much; returns its folder."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    conv = any(type(part).__name__ == "Conv1D" for part in model.modules())
    options = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=modules, task_type="CAUSAL_LM", fan_in_fan_out=conv, **more
    )
    with seeds.torch_stream("tests", "adapters", number, shared=True):
        adapted = get_peft_model(model, options)
        for name, value in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(value, std=0.1)
    adapted.save_pretrained(path, save_embedding_layers=False)  # their adapters alone
    AutoTokenizer.from_pretrained(base).save_pretrained(path)
    return path


def plain(path):
    """A model as transformers computes it, an adapter merged."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    config = path / "adapter_config.json"
    base = json.loads(config.read_text())["base_model_name_or_path"] if config.is_file() else path
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    return (model if base is path else PeftModel.from_pretrained(model, path).merge_and_unload()).eval()


@torch.inference_mode()
def error(model, asked, drawn):
    """The greatest error of a log-probability in what was drawn."""
    worst = 0.0
    for request, one in zip(asked, drawn, strict=True):
        row = torch.tensor([[*request.prompt_token_ids, *one.token_ids]])
        begin = len(request.prompt_token_ids)
        logs = torch.log_softmax(model(row, use_cache=False).logits[0, begin - 1 : -1].double(), -1)
        exact = logs.gather(1, torch.tensor(one.token_ids)[:, None])[:, 0].numpy()
        worst = max(worst, float(np.abs(np.array(one.token_logprobs) - exact).max()))
    return worst


def requests(name, count=12):
    return [Request(PROMPTS[i % 3], seeds.seed63("tests", "adapters", name, i, shared=True)) for i in range(count)]


@pytest.fixture
def starts(monkeypatch):
    """What every engine that is started is told."""
    pytest.importorskip("vllm")
    found, start = [], library.started
    monkeypatch.setattr(library, "started", lambda path, **options: found.append(options) or start(path, **options))
    return found


def architecture(path):
    return json.loads((path / "config.json").read_text())["architectures"][0]


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("family", CASES)
def test_adapters_and_their_model_answer_through_one_engine(family, make_model, tmp_path, starts):
    """R9: adapters could not be measured with vLLM at all."""
    base = save_family(family, tmp_path / "base", make_model)
    modules = ["in_proj"] if "Mamba" in family else "all-linear"
    first, second = (
        save_adapter(base, tmp_path / f"s{i}", (family, i), rank=4 + 8 * i, modules=modules) for i in range(2)
    )
    folders, seen = [first, base, second], {}
    if family == "Mamba":  # see docs/families.md
        with pytest.raises(OptionError, match="backend='transformers'"):
            next(open_students(folders, backend="vllm"))
        return
    for place, teacher in open_students(folders, backend="vllm", dtype="float32"):
        asked = requests(place)
        seen[place] = error(plain(folders[place]), asked, complete(teacher, asked, SAMPLING))
        if place != 1:
            other = open_teacher(folders[place], backend="transformers", dtype="float32", device="cpu")
            assert (teacher.about.revision, teacher.about.name) == (other.about.revision, other.about.name)
    assert sorted(seen) == [0, 1, 2]
    assert max(seen.values()) < BOUND
    together = architecture(base) in LAYERS
    assert together == (family not in MERGED)
    assert len(starts) == (1 if together else 3)
    if together:
        assert starts[0]["max_lora_rank"] == 16  # room for ranks 4 and 12
    asked = requests(0)  # what the bound tells apart: the other adapter
    of_first = complete(open_teacher(first, backend="transformers", dtype="float32", device="cpu"), asked, SAMPLING)
    assert error(plain(second), asked, of_first) > 100 * BOUND


@pytest.mark.engine
def test_a_step_with_tokens_of_an_adapter_and_of_none(make_model, tmp_path, starts, monkeypatch):
    """vLLM's code for CPUs gives tokens without an adapter the last one's."""
    base = save_family("Llama", tmp_path / "base", make_model)
    adapter = save_adapter(base, tmp_path / "s0", "step")
    opened = open_students([base, adapter], backend="vllm", dtype="float32")
    teacher = next(opened)[1]
    engine, asked, models = teacher.engine, requests("step", 2), (plain(base), plain(adapter))

    def errors():
        names = [
            engine.ask(request, SAMPLING, (2,), adapter=own)
            for request, own in zip(asked, (None, adapter), strict=True)
        ]
        found = {}
        while len(found) < 2:
            found |= {output.request_id: teacher._completion(output.outputs[0]) for output in engine.finished()}
        return [
            error(model, [request], [found[name]]) for model, request, name in zip(models, asked, names, strict=True)
        ]

    engine.fit(20, 6, limit=64)
    assert max(errors()) < BOUND
    import contextlib

    monkeypatch.setattr(library, "grouped_adapters", contextlib.nullcontext)  # the wrong version: vLLM's own
    assert errors()[0] > 100 * BOUND
    opened.close()
    with pytest.raises(WorkerError, match="closed"):
        complete(teacher, asked, SAMPLING)


@pytest.mark.engine
def test_an_adapter_of_the_head_adds_what_vllm_adds_and_a_head_without_one_stays():
    pytest.importorskip("vllm")
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    rng = torch.Generator().manual_seed(0)
    which = torch.tensor([1, 0, 0, 1, 1])
    x, y = torch.randn(5, 8, generator=rng), torch.randn(5, 12, generator=rng)
    down, up = torch.randn(2, 1, 4, 8, generator=rng), torch.randn(2, 1, 11, 4, generator=rng)  # logits are padded
    wrapper = SimpleNamespace(sampler_indices=which)
    theirs, ours, same = y.clone(), y.clone(), y.clone()
    PunicaWrapperCPU.add_lora_logits(wrapper, theirs, x, down, up, 0.5)
    library._add_to_logits(wrapper, ours, x, down, up, 0.5)
    torch.testing.assert_close(ours, theirs)
    assert not torch.equal(ours, y)
    library._add_to_logits(wrapper, same, x, down, torch.zeros_like(up), 0.5)
    assert torch.equal(same, y)


@pytest.mark.engine
def test_one_stream_at_a_time(tiny):
    """Two at once took each other's answers: a KeyError in the middle."""
    pytest.importorskip("vllm")
    teacher = open_teacher(tiny, backend="vllm", dtype="float32")
    first = teacher.stream(iter(requests("first", 4)), SAMPLING)
    next(first)
    with pytest.raises(WorkerError, match="another stream of requests"):
        complete(teacher, requests("second"), SAMPLING)
    assert len(list(first)) == 3
    assert len(complete(teacher, requests("second"), SAMPLING)) == 12
    teacher.close()


CHANGES = {
    "use_dora": (True, "it has use_dora=True"),
    "modules_to_save": (["lm_head"], r"it has modules_to_save=\['lm_head'\]"),
    "bias": ("lora_only", "it has bias='lora_only'"),
    "r": (600, "its rank of 600 is above 512"),
    "rank_pattern": ({"q_proj": 513}, "its rank of 513 is above 512"),
    "peft_type": ("IA3", r"it is no LoRA \(IA3\)"),
    "init_lora_weights": ("pissa", "it begins with a change of the model"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_what_vllm_cannot_put_on_is_told_apart(change, tiny, tmp_path):
    pytest.importorskip("vllm")
    path = save_adapter(tiny, tmp_path / "s0", "change")
    assert (not_put_on(path, tiny), rank_of(path)) == ("", 4)
    value, message = CHANGES[change]
    config = path / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), change: value}))
    assert message.replace("\\", "") in not_put_on(path, tiny)


@pytest.mark.engine
@pytest.mark.parametrize("modules", [["q_proj", "embed_tokens"], ["lm_head"]])
def test_an_adapter_on_a_layer_that_vllm_passes_by_is_merged(modules, tiny, tmp_path, starts):
    path = save_adapter(tiny, tmp_path / "s0", "layers", modules=modules)
    assert not_put_on(path, tiny).startswith("it changes")
    teacher, asked = open_teacher(path, backend="vllm", dtype="float32"), requests("layers")
    assert error(plain(path), asked, complete(teacher, asked, SAMPLING)) < BOUND
    folder = teacher.engine.path
    assert folder.is_dir()
    teacher.close()
    assert not folder.exists()
    assert "enable_lora" not in starts[0]


@pytest.mark.engine
def test_students_of_several_models_and_whole_ones_come_engine_by_engine(make_model, tmp_path, starts):
    a, b = (make_model(tmp_path / name, spread=spread) for name, spread in (("a", 0.2), ("b", 0.15)))
    folders = [save_adapter(base, tmp_path / f"s{i}", ("several", i)) for i, base in enumerate((a, b, a))]
    whole = make_model(tmp_path / "whole", spread=0.1)
    order = []
    for place, teacher in open_students([*folders, whole], backend="vllm", dtype="float32"):
        order.append(place)
        asked = requests(place)
        assert error(plain([*folders, whole][place]), asked, complete(teacher, asked, SAMPLING)) < BOUND
    assert order == [0, 2, 1, 3]
    assert len(starts) == 3


def test_a_folder_that_is_not_there_is_told_before_any_is_opened(tiny, tmp_path, starts):
    for backend in ("vllm", "transformers"):
        with pytest.raises(DataError, match="no folder here"):
            next(open_students([tiny, tmp_path / "none"], backend=backend))
    assert not starts


@pytest.mark.slow
@pytest.mark.engine
def test_adapters_on_a_real_model(smollm2, tmp_path, starts):
    base = smollm2.parent / "smollm2-6layers"
    folders = [save_adapter(base, tmp_path / f"s{i}", ("real", i)) for i in range(2)] + [base]
    prompt = Request((1, 4093, 198, 19556, 2, 198, 1, 520, 9531, 198), 0)
    for place, teacher in open_students(folders, backend="vllm", dtype="float32"):
        asked = [Request(prompt.prompt_token_ids, seeds.seed63("t", "real", place, i, shared=True)) for i in range(6)]
        # Logits up to 30: the bound of test_teachers for this model.
        assert error(plain(folders[place]), asked, complete(teacher, asked, SAMPLING)) < 3e-4
    assert len(starts) == 1
