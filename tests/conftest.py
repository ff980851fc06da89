"""Tiny language models made on the spot, and the engines that several folders of tests share: each is started once."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from markers import (  # noqa: F401  hooks
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_runtest_call,
    pytest_runtest_logreport,
    pytest_runtest_setup,
    pytest_runtest_teardown,
    pytest_terminal_summary,
    pytest_unconfigure,
)

if "PYTEST_XDIST_WORKER" in os.environ:  # processes share the cores; read when NumPy and torch are imported
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

collect_ignore = ["faults/traced.py"]  # a script, which runs when it is imported

WORDS = 252  # "w0" ... "w251" are tokens 4 ... 255; 0-3 are <unk>, <s>, </s>, <pad>


@pytest.fixture(scope="session")
def s3_server() -> Iterator[object]:
    """An S3 server on loopback, and an environment in which s3:// is there."""
    for library in ("s3fs", "moto", "flask"):
        pytest.importorskip(library, reason="pip install 'uqkd[s3,test]'")
    from s3_server import serving

    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    with serving() as server, pytest.MonkeyPatch.context() as environment:
        for name, value in {**keys, "AWS_ENDPOINT_URL": server.url, "AWS_EC2_METADATA_DISABLED": "true"}.items():
            environment.setenv(name, value)
        # What is refused is asked again at once: how long botocore waits is not what is tested.
        environment.setattr("botocore.retryhandler.delay_exponential", lambda *_, **__: 0.01)
        yield server


@pytest.fixture
def s3(s3_server, request) -> Iterator[object]:
    """The server, with a URL below which nothing is yet as `root`."""
    s3_server.root = f"s3://{s3_server.bucket}/{request.node.nodeid.replace('/', '.').replace(':', '-')[:200]}"
    yield s3_server
    s3_server.code, s3_server.share, s3_server.unconditional = "", 0.0, False
    s3_server.clear(s3_server.root)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Path]:
    """Save a Llama of two layers with a tokenizer of 256 words; options change what is wrong with it."""

    def make(
        path: Path, *, spread: float = 0.02, context: int = 64, template: str | None = None, **config: object
    ) -> Path:
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        from uqkd import seeds

        names = ["<unk>", "<s>", "</s>", "<pad>", *(f"w{i}" for i in range(WORDS))]
        core = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
        core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
        )
        tokenizer.chat_template = template
        tokenizer.save_pretrained(path)
        sizes = {
            "vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": context, "bos_token_id": 1,
            "eos_token_id": 2, "pad_token_id": 3, "tie_word_embeddings": False, "initializer_range": spread,
        }  # fmt: skip
        with seeds.torch_stream("tests", "tiny model", shared=True):
            LlamaForCausalLM(LlamaConfig(**{**sizes, **config})).save_pretrained(path)
        return path

    return make


@pytest.fixture(scope="session")
def tiny(make_model, tmp_path_factory) -> Path:
    """A tiny model whose own generation_config asks for the most probable token: no engine may follow it."""
    path = make_model(tmp_path_factory.mktemp("models") / "tiny", spread=0.2)
    own = {"do_sample": True, "temperature": 0.01, "top_k": 1, "eos_token_id": 2}
    (path / "generation_config.json").write_text(json.dumps(own))
    return path


@pytest.fixture(scope="session")
def transformers_teacher(tiny):
    """The tiny model in transformers."""
    from uqkd.llm.teachers import open_teacher

    return open_teacher(tiny, backend="transformers", dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def vllm_teacher(tiny) -> Iterator[object]:
    """The tiny model in vLLM: the one engine that the tests start in this process."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    from uqkd.llm.teachers import open_teacher

    teacher = open_teacher(tiny, backend="vllm", dtype="float32")
    yield teacher
    teacher.close()


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """A real chat model, SmolLM2-135M-Instruct, as `make test` prepares it (`make models`)."""
    path = Path(__file__).parents[1] / ".real" / "smollm2-135m-instruct"
    assert (path / "config.json").is_file(), "the real model is not there; run: make models"
    return path


@pytest.fixture(scope="session")
def vllm_server(tiny, tmp_path_factory) -> Iterator[str]:
    """URL of vLLM's own server on this machine, with the tiny model."""
    with served(tiny, tmp_path_factory.mktemp("server") / "log") as url:
        yield url


@pytest.fixture(scope="session")
def smollm2_server(smollm2, tmp_path_factory) -> Iterator[str]:
    """URL of vLLM's own server on this machine, with the real chat model."""
    with served(smollm2, tmp_path_factory.mktemp("server") / "log", "--max-model-len", "512") as url:
        yield url


@contextmanager
def served(model: Path, log_file: Path, *more: str) -> Iterator[str]:
    """vLLM's own server on a free port, until the block ends."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--dtype", "float32", "--host",
        "127.0.0.1", "--port", str(port), "--enforce-eager", "--generation-config", "vllm", "--logprobs-mode",
        "processed_logprobs", "--max-num-seqs", "64", *more,
    ]  # fmt: skip
    quick = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "TORCHDYNAMO_DISABLE": "1"}
    log = log_file.open("w+")
    process = subprocess.Popen(
        line, env={**os.environ, **quick}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 300.0
    try:
        while not _answers(f"{url}/health"):
            log.seek(0)
            assert process.poll() is None, log.read()[-3000:]
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.5)
        yield f"{url}/v1"
    finally:
        process.terminate()
        process.wait(timeout=60.0)
        log.close()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5.0).close()
        return True
    except OSError:
        return False
