"""Fault 11: no code touches a global random state, or makes a generator outside `seeds.py`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def offences(source: str) -> list[str]:
    """Uses of `random`, of `np.random.<legacy>`, of `default_rng` and of bit generators in a piece of code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"line {node.lineno}: import {n}" for n in names if n == "random" or n.startswith("numpy.random")]
        if not isinstance(node, ast.Attribute):
            continue
        of_random = isinstance(node.value, ast.Attribute) and node.value.attr == "random"
        if of_random and node.attr != "Generator":  # which annotations name
            found.append(f"line {node.lineno}: np.random.{node.attr}")
        if node.attr in {"manual_seed", "set_rng_state"}:
            found.append(f"line {node.lineno}: {node.attr}")
    return found


@pytest.mark.parametrize(
    "wrong",
    [
        "import numpy as np\nnp.random.seed(1)",
        "import numpy as np\nx = np.random.normal(size=3)",
        "import numpy as np\ng = np.random.default_rng(3)",
        "import random\nrandom.random()",
        "from numpy.random import default_rng",
        "import torch\ntorch.manual_seed(1)",
    ],
)
def test_the_guard_sees_each_kind(wrong):
    assert offences(wrong)


def test_no_code_makes_randomness_outside_seeds():
    files = [
        f for folder in ("uqkd", "studies", "bench") for f in (ROOT / folder).rglob("*.py") if f.name != "seeds.py"
    ]
    assert len(files) > 30
    found = {str(f.relative_to(ROOT)): offences(f.read_text()) for f in files}
    assert {f: o for f, o in found.items() if o} == {}


@pytest.mark.slow
@pytest.mark.process
def test_running_studies_leaves_the_global_states_alone():
    """The states before and after real measurements are equal, and results do not depend on them."""
    code = (
        "import random, sys, numpy as np\n"
        "from uqkd.run import load_study\n"
        "work = []\n"
        "for name in ('teacher_noise', 'intra_suppression', 'data_bootstrap'):\n"
        "    s = load_study(name); work.append((s.module, s.module.cells(s.options('quick'))[3]))\n"
        "    s.module.measure(work[-1][1])\n"  # what libraries do to the states when they are first imported is theirs
        "random.seed(int(sys.argv[1])); np.random.seed(int(sys.argv[1]))\n"
        "before = (random.getstate(), np.random.get_state()[1].tolist())\n"
        "for module, cell in work: print(module.measure(cell).to_csv())\n"
        "assert before == (random.getstate(), np.random.get_state()[1].tolist())\n"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", code, seed], capture_output=True, text=True, check=True, cwd=ROOT).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert "inter-student variance" in outputs[0]
