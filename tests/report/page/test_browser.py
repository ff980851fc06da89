"""The page in a browser: no fault of axe, no request, nothing wider than the screen; terms, tables, search and print work."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.report.page.test_page import EVIL, publish
from tests.report.test_figures import table
from uqkd.report import page as gallery
from uqkd.report.answers import Answer
from uqkd.store import Store

HERE = Path(__file__).parent
MODULES = "UQKD_NODE_MODULES"  # a folder in which `npm install puppeteer-core axe-core` was run


@pytest.mark.slow
@pytest.mark.process
def test_the_page_in_a_browser(tmp_path):
    node, chromium = shutil.which("node"), shutil.which("chromium") or shutil.which("google-chrome")
    folder = os.environ.get(MODULES)
    if not (node and chromium and folder):
        pytest.skip(f"needs node, Chromium, and ${MODULES}, a folder with puppeteer-core and axe-core from npm")
    store = Store(tmp_path)
    told = {"caption": f"κ at k = 3. A second sentence on {EVIL} {'W' * 200}.", "answer": Answer("G_p is kept", {})}
    publish(store, "linear_a", group="linear", **told, more={"wide": table().assign(text=EVIL * 3)})
    publish(store, "mlp_b", group="mlp", settings={"preset": "quick", "options": {"x" * 100: "y" * 300}})
    claim = "claim,source,result,study,verdict\nA long claim,a paper,0.1 [0.0; 0.2],mlp_b,refuted\n"
    store.write_bytes("tables/claims.csv", claim.encode())
    gallery.write(store)
    command = [node, str(HERE / "browse.mjs"), str(tmp_path / "index.html"), folder, chromium]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
