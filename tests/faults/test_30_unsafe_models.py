"""Fault 30: weights as pickle and models with code of their own are refused; the message gives the safe form."""

from __future__ import annotations

import json

import pytest
import torch

from uqkd import seeds
from uqkd.errors import DataError, OptionError
from uqkd.llm.models.revision import check_model, model_revision
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Request, complete, open_teacher


def changed(path, name, **fields):
    file = path / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


class Bomb:
    """A pickle that would leave a trace if anything loaded it."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


@pytest.mark.parametrize("backend", ["vllm", "transformers"])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_weights_as_pickle_only(make_model, tmp_path, name, backend):
    path, trace = make_model(tmp_path / "m"), tmp_path / "trace"
    (path / "model.safetensors").unlink()
    torch.save(Bomb(trace), path / name)
    with pytest.raises(OptionError, match=rf"in {name} only, a pickle, .*give it as safetensors"):
        open_teacher(path, backend=backend)
    assert not trace.exists()


def test_a_pickle_beside_safetensors_is_left_alone(make_model, tmp_path):
    path, trace = make_model(tmp_path / "m"), tmp_path / "trace"
    torch.save(Bomb(trace), path / "pytorch_model.bin")
    open_teacher(path, backend="transformers", dtype="float32", device="cpu").close()
    assert not trace.exists()


AUTO_MAP = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model", "AutoTokenizer": ["own.T", None]}
FOREIGN = [
    ("config.json", {"model_type": "own"}),
    ("config.json", {"architectures": ["OwnForCausalLM"]}),
    ("config.json", {"architectures": None}),
    ("tokenizer_config.json", {"tokenizer_class": "OwnTokenizer"}),
]


def with_code(path, trace, name, **fields):
    """The model with code of its own beside it, which leaves a trace if it runs."""
    (path / "own.py").write_text(f"open({str(trace)!r}, 'w')")
    changed(path, name, auto_map=AUTO_MAP, **fields)


@pytest.mark.parametrize(("name", "fields"), FOREIGN)
def test_code_of_its_own_that_transformers_does_not_have(make_model, tmp_path, name, fields):
    path = make_model(tmp_path / "m")
    with_code(path, tmp_path / "trace", name, **fields)
    with pytest.raises(
        OptionError, match=f"brings code of its own \\({name} has 'auto_map'\\).*transformers has built in"
    ):
        open_teacher(path, backend="transformers")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("backend", ["vllm", "transformers"])
def test_code_that_is_left_over_beside_a_model_that_transformers_has_is_not_loaded(make_model, tmp_path, backend):
    """As in early copies of Phi-3 or Falcon: the configuration still names files that nobody needs."""
    plain, path = make_model(tmp_path / "plain"), make_model(tmp_path / "m")
    for name in ("config.json", "tokenizer_config.json"):
        with_code(path, tmp_path / "trace", name)
    drawn = []
    for folder in (plain, path):
        teacher = open_teacher(folder, backend=backend, dtype="float32", device="auto" if backend == "vllm" else "cpu")
        asked = [Request((4, 9), seeds.seed63("tests", "left over", i, shared=True)) for i in range(8)]
        drawn.append([tuple(one.token_ids) for one in complete(teacher, asked, Sampling(max_tokens=4))])
        teacher.close()
    assert drawn[0] == drawn[1]
    assert not (tmp_path / "trace").exists()


def test_adapter_as_pickle(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(OptionError, match=r"no adapter_model.safetensors; save it again with safe_serialization"):
        check_model(tmp_path)


@pytest.mark.parametrize(
    ("gone", "message"),
    [("config.json", "no config.json"), ("model.safetensors", "no \\*.safetensors"), ("tokenizer", "no tokenizer")],
)
def test_incomplete_folders(make_model, tmp_path, gone, message):
    path = make_model(tmp_path / "m")
    for file in [entry for entry in path.iterdir() if entry.name.startswith(gone)]:
        file.unlink()
    with pytest.raises(DataError, match=message):
        check_model(path)


def test_broken_configuration(make_model, tmp_path):
    path = make_model(tmp_path / "m")
    (path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config.json of model 'm' cannot be read"):
        check_model(path)


def test_revision_follows_the_contents_and_not_the_place(make_model, tmp_path):
    one, two = make_model(tmp_path / "a"), make_model(tmp_path / "b")
    assert model_revision(one) == model_revision(two)
    (two / "README.md").write_text("notes")
    assert model_revision(one) == model_revision(two)
    seen = {model_revision(one)}
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        data = bytearray((two / name).read_bytes())
        data[-2] ^= 1
        (two / name).write_bytes(bytes(data))
        seen.add(model_revision(two))
    assert len(seen) == 4
    for name in ("chat_template.jinja", "generation_config.json", "special_tokens_map.json", "adapter_config.json"):
        (two / name).write_text("{}")
        seen.add(model_revision(two))
    assert len(seen) == 8
