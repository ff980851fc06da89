"""A backend is a file, an embedding is a file: nothing else has to be changed, and an unknown name is never a default."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from uqkd.cli import main
from uqkd.errors import OptionError
from uqkd.llm import embeddings
from uqkd.llm.bank import Bank
from uqkd.llm.embeddings import embed, embedding_names
from uqkd.llm.teachers import backend_names, backends, open_teacher

BACKEND = '''
from uqkd.llm.teachers.teacher import Completion, TeacherInfo
from uqkd.llm.teachers.text_only import TextOnly


class Echo:
    """Says the prompt, so many times."""

    def __init__(self, name_or_path, *, dtype, device, chat, times=1):
        self.about = TeacherInfo(str(name_or_path), "1", "echo", "1", "none", "none", True)
        self.encoder, self.times = TextOnly(), times

    def stream(self, requests, sampling):
        for place, request in enumerate(requests):
            yield place, Completion(None, request.turns[-1][1] * self.times, None, "stop")

    def close(self):
        pass


open_backend = Echo
'''
EMBEDDING = '''
import numpy as np


def vectors(texts, model, *, device="cpu"):
    """The length of a text, and where it begins."""
    raw = np.array([[len(text), ord(text[0]) if text else 1] for text in texts], dtype=float)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)
'''


@pytest.fixture
def one_file_more(tmp_path, monkeypatch):
    """Put a file into a registry's folder, for one test."""

    def add(package, name, text):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])

    yield add
    for name in ("uqkd.llm.teachers.backends.echo", "uqkd.llm.embeddings.length"):
        sys.modules.pop(name, None)


def test_a_file_is_a_backend_for_the_library_and_the_command(one_file_more, tmp_path):
    one_file_more(backends, "echo", BACKEND)
    assert backend_names() == ("echo", "openai", "server", "transformers", "vllm")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": "w1"}))
    with pytest.raises(SystemExit, match="0"):
        main(
            ["sample", "--teacher", "me", "--prompts", str(prompts), "--bank", str(tmp_path / "b"), "--backend", "echo"]
        )
    assert Bank(tmp_path / "b").table()["text"].tolist() == ["w1"] * 4
    assert open_teacher("me", backend="echo", times=2).times == 2
    with pytest.raises(OptionError, match="backend 'echo' has no option 'tims'; did you mean 'times'"):
        open_teacher("me", backend="echo", tims=2)


def test_a_file_is_an_embedding(one_file_more):
    one_file_more(embeddings, "length", EMBEDDING)
    assert embedding_names() == ("builtin", "length", "sentence_transformers")
    assert np.allclose(embed(["ab", "ab", "abc"], "length")[:, 0], [2 / np.hypot(2, 97)] * 2 + [3 / np.hypot(3, 97)])


@pytest.mark.parametrize(
    ("name", "message"),
    [("vlm", "did you mean 'vllm'"), ("zzz", "Valid: 'openai', 'server', 'transformers', 'vllm'")],
)
def test_an_unknown_backend_is_named_with_the_nearest(name, message):
    with pytest.raises(OptionError, match=message):
        open_teacher("no/such/model", backend=name)


@pytest.mark.parametrize("backend", ["vllm", "transformers", "server", "openai"])
def test_an_option_of_another_backend_is_refused_before_any_work(backend):
    with pytest.raises(OptionError, match=f"backend '{backend}' has no option 'temperture'"):
        open_teacher("no/such/model", backend=backend, temperture=1)
