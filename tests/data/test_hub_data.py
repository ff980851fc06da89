"""Data of the hub, by the real library from a hub on this machine: fetched once, only what is asked for, and no code run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path):
    """Serve tmp_path/hub/<owner>/<name> as the hub does: what a repository's folders hold, and each file with its commit."""
    root, asked = tmp_path / "hub", []

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, *, body):
            asked.append(urllib.parse.unquote(self.path))
            parts = urllib.parse.unquote(self.path.partition("?")[0]).strip("/").split("/")
            if parts[:2] == ["api", "datasets"] and (folder := root.joinpath(*parts[2:4])).is_dir():
                if parts[4:5] == ["tree"]:
                    place = folder.joinpath(*parts[6:])
                    held = sorted(place.rglob("*") if "recursive=true" in self.path.lower() else place.iterdir())
                    kinds = [("directory", 0) if path.is_dir() else ("file", path.stat().st_size) for path in held]
                    tree = [
                        {"type": kind, "path": str(path.relative_to(folder)), "size": size, "oid": COMMIT}
                        for path, (kind, size) in zip(held, kinds, strict=True)
                    ]
                    return self.send(json.dumps(tree).encode(), "application/json", body=body)
                files = [{"rfilename": str(path.relative_to(folder))} for path in folder.rglob("*") if path.is_file()]
                about = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": files, "private": False, "tags": []}
                return self.send(json.dumps(about).encode(), "application/json", body=body)
            # /datasets/owner/name/resolve/<revision>/<file>; the branch of converted files has slashes in its name
            place = self.path.partition("?")[0].strip("/").split("/")
            if place[0] == "datasets" and (file := root.joinpath(*place[1:3], *place[5:])).is_file():
                return self.send(file.read_bytes(), "application/octet-stream", body=body)
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
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
        **os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    yield root, environment, asked
    server.shutdown()
    server.server_close()


def converted(root, repository, folder, *, rows, columns):
    """What the hub makes of a data set: a Parquet file a part, with named classes."""
    import datasets

    datasets.disable_progress_bars()
    text, label = columns
    features = datasets.Features({text: datasets.Value("string"), label: datasets.ClassLabel(names=["stop", "play"])})
    for part, texts in rows.items():
        table = datasets.Dataset.from_dict({text: texts, label: [i % 2 for i in range(len(texts))]}, features=features)
        (root / repository / folder / part).mkdir(parents=True)
        table.to_parquet(str(root / repository / folder / part / "0000.parquet"))


CODE = """
import json, sys
from uqkd import data, errors
try:
    found = data.load_texts(sys.argv[1])
    held_out = [bool(row) for row in found.held_out]
    print(json.dumps([found.texts, found.classes, found.labels.tolist(), held_out]))
except errors.UqkdError as problem:
    print("error:", problem)
"""


def load(name, environment):
    done = subprocess.run(
        [sys.executable, "-c", CODE, name], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    return done.stdout


ROWS = {"train": ["a", "b", "c"], "validation": ["d", "e"], "test": ["f", "g"]}


@pytest.mark.parametrize("name", ["massive", "ag_news"])
def test_data_are_fetched_once_and_serve_without_the_network(hub, name):
    root, environment, asked = hub
    if name == "massive":  # published with a script: the hub's own conversion is read, and of that one language
        other = {part: [text + " auf deutsch" for text in texts] for part, texts in ROWS.items()}
        converted(root, "AmazonScience/massive", "en-US", rows=ROWS, columns=("utt", "intent"))
        converted(root, "AmazonScience/massive", "de-DE", rows=other, columns=("utt", "intent"))
    else:
        converted(root, "fancyzhx/ag_news", "data", rows=ROWS, columns=("text", "label"))
    first = load(name, environment)
    assert json.loads(first) == [
        list("abcdefg"), ["play", "stop"], [1, 0, 1, 1, 0, 1, 0], [False] * 5 + [True] * 2,
    ]  # fmt: skip
    assert any(path.endswith("train/0000.parquet") for path in asked)
    assert any("revision/refs/convert/parquet" in path for path in asked) == (name == "massive")
    assert not any(path.startswith("/datasets") and "de-DE" in path for path in asked)
    asked.clear()
    assert load(name, {**environment, "HF_HUB_OFFLINE": "1"}) == first
    assert asked == []


def test_a_script_of_a_data_set_is_not_run(hub, tmp_path):
    root, environment, _ = hub
    folder = root / "fancyzhx" / "ag_news"
    folder.mkdir(parents=True)
    (folder / "ag_news.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\n")
    output = load("ag_news", environment)
    assert output.startswith("error: data ag_news (fancyzhx/ag_news on the hub, all parts) could not be fetched")
    assert "scripts are no longer supported" in output
    assert not (tmp_path / "trace").exists()
