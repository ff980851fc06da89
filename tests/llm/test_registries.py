"""A backend is a file, an embedding is a file, a way to weigh is a file: nothing else has to be changed, and an unknown name
is never a default."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from uqkd.cli import main
from uqkd.errors import OptionError
from uqkd.llm import targets, weigh
from uqkd.llm.bank import Bank
from uqkd.llm.responses import Prompts, Response, Responses
from uqkd.llm.similarity import embeddings
from uqkd.llm.similarity.embeddings import embed, embedding_names
from uqkd.llm.targets import method_names, responses_kept, second_source
from uqkd.llm.teachers import backend_names, backends, open_teacher

BACKEND = '''
from uqkd.llm.requests import Completion, TeacherInfo
from uqkd.llm.teachers.servers.text_only import TextOnly


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
LONGEST = '''
"""All the weight on the longest text, or on the shortest."""
import numpy as np
from uqkd.llm.responses import Responses, TextTargets

SECOND = None
CHOOSES = True


def weighed(responses, *, shortest=False):
    lengths = np.array([len(one.text) for one in responses.distinct])[responses.index] * (-1 if shortest else 1)
    chosen = np.take_along_axis(responses.index, lengths.argmax(axis=2)[..., None], axis=2)
    return TextTargets(Responses(responses.prompts, responses.distinct, chosen), np.ones(chosen.shape), "longest")
'''
HALF = '''
"""Half of the weight to each of two independent sources."""
import numpy as np
from uqkd.llm.responses import side_by_side
from uqkd.llm.responses import TextTargets

SECOND = "cross-fitted"
CHOOSES = False


def weighed(responses, *, second):
    k, m = responses.shape[2], second.shape[2]
    shares = np.r_[np.full(k, 0.5 / k), np.full(m, 0.5 / m)]
    return TextTargets(side_by_side(responses, second), np.tile(shares, (*responses.shape[:2], 1)), "half")
'''


@pytest.fixture
def one_file_more(tmp_path, monkeypatch):
    """Put a file into a registry's folder, for one test."""

    added = []

    def add(package, name, text):
        added.append(f"{package.__name__}.{name}")
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])

    yield add
    for name in added:
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


PAIR = Prompts(("a", "b"), ("?", "?"))
SAID = Responses(PAIR, (Response((1,), "no"), Response((2,), "maybe")), [[[0, 1, 1], [0, 0, 1]]])


def test_a_method_that_does_not_keep_what_its_file_says_is_refused(one_file_more):
    """Epochs are counted by it."""
    one_file_more(targets, "longest", LONGEST.replace("CHOOSES = True", "CHOOSES = False"))
    with pytest.raises(
        OptionError, match="method 'longest' kept 1 of k=3 responses to a prompt; its file says CHOOSES = False"
    ):
        weigh(SAID, "longest")


def test_a_file_is_a_way_to_weigh(one_file_more):
    one_file_more(targets, "longest", LONGEST)
    assert method_names() == ("longest", "medoid", "multi", "precision", "reranked", "single")
    assert "uqkd.llm.targets.longest" not in sys.modules  # listed, not imported
    assert second_source("longest") is None
    assert responses_kept("longest", 4) == 1
    assert weigh(SAID, "longest").responses.index.tolist() == [[[1], [1]]]
    assert weigh(SAID, "longest", shortest=True).responses.index.tolist() == [[[0], [0]]]
    with pytest.raises(OptionError, match="method 'longest' has no option 'shrtest'; did you mean 'shortest'"):
        weigh(SAID, "longest", shrtest=True)
    with pytest.raises(OptionError, match="method got 'longst'; did you mean 'longest'"):
        weigh(SAID, "longst")
    with pytest.raises(OptionError, match="leave second= out"):
        weigh(SAID, "longest", second=SAID)


def test_a_file_that_wants_an_independent_source_is_held_to_it(one_file_more):
    one_file_more(targets, "half", HALF)
    assert second_source("half") == "cross-fitted"
    second = Responses(PAIR, (Response((3,), "yes"), Response((1,), "no")), [[[0, 1], [0, 0]]])
    with pytest.raises(OptionError, match="of an independent .cross-fitted. student"):
        weigh(SAID, "half")
    with pytest.raises(OptionError, match="Cross-fit and pass fold="):
        weigh(SAID, "half", second=second)
    found = weigh(SAID, "half", second=second, fold=[0, 1])
    assert found.responses.texts(0, 0) == ["no", "maybe", "maybe", "yes", "no"]
    assert [one.text for one in found.responses.distinct] == ["no", "maybe", "yes"]
    np.testing.assert_allclose(found.weights[0, 0], [1 / 6, 1 / 6, 1 / 6, 1 / 4, 1 / 4])


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
