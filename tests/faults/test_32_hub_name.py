"""Fault 32, the other side: a name on the hub is fetched once, from a hub on this machine, and serves without it afterwards."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path):
    """Serve tmp_path/hub/<owner>/<name> as the hub does: what a repository holds, and each file with its commit and ETag."""
    root, asked = tmp_path / "hub", []

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, *, body):
            asked.append(self.path)
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"] and (folder := root.joinpath(*parts[2:4])).is_dir():
                if parts[4:5] == ["tree"]:
                    held = [(path.name, path.stat().st_size) for path in sorted(folder.iterdir())]
                    tree = [{"type": "file", "path": name, "size": size, "oid": COMMIT} for name, size in held]
                    return self.send(json.dumps(tree).encode(), "application/json", body=body)
                files = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
                about = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": files, "private": False, "tags": []}
                return self.send(json.dumps(about).encode(), "application/json", body=body)
            if len(parts) == 5 and parts[2] == "resolve" and (file := root.joinpath(*parts[:2], parts[4])).is_file():
                return self.send(file.read_bytes(), "application/octet-stream", body=body)
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()

        def send(self, content, kind, *, body):
            self.send_response(200)
            headers = {
                "Content-Type": kind, "Content-Length": len(content), "X-Repo-Commit": COMMIT,
                "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
            }  # fmt: skip
            for name, value in headers.items():
                self.send_header(name, str(value))
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    yield root, environment, asked
    server.shutdown()
    server.server_close()


def sample(command, prompts, environment, bank, *, name="someone/tiny"):
    process = command(
        "sample", "--teacher", name, "--prompts", prompts, "--bank", bank, "--backend", "transformers", "--max-tokens", "16",
        "--k", "2", env=environment,
    )  # fmt: skip
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


@pytest.mark.slow
@pytest.mark.process
def test_a_name_is_fetched_once_and_serves_without_the_network(command, hub, tiny, prompts, tmp_path):
    root, environment, asked = hub
    shutil.copytree(tiny, root / "someone" / "tiny")
    (root / "someone" / "tiny" / "pytorch_model.bin").write_bytes(b"a pickle that nobody asks for")
    code, output, errors = sample(command, prompts, environment, tmp_path / "a")
    assert code == 0, errors
    assert "6 responses drawn, 0 reused" in output
    assert any(path.endswith("model.safetensors") for path in asked)
    assert not any(path.endswith(".bin") for path in asked)
    asked.clear()
    code, output, errors = sample(command, prompts, {**environment, "HF_HUB_OFFLINE": "1"}, tmp_path / "b")
    assert code == 0, errors
    assert "6 responses drawn, 0 reused" in output
    assert asked == []


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("fault", ["pickle", "code"])
def test_an_unsafe_model_of_the_hub_is_refused(command, hub, tiny, prompts, tmp_path, fault):
    root, environment, _ = hub
    folder = root / "someone" / "tiny"
    shutil.copytree(tiny, folder)
    if fault == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(
            json.dumps({**config, "model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}})
        )
    code, output, errors = sample(command, prompts, environment, tmp_path / "a")
    assert code == 2, output
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert ("safetensors" if fault == "pickle" else "code of its own") in last
    assert "Traceback" not in errors
