"""Importing is quick and light: `import uqkd` loads nothing, the core needs NumPy and SciPy only, torch is never needed."""

import statistics
import subprocess
import sys
import time

import pytest

import uqkd.classify as classify
import uqkd.estimators as estimators
import uqkd.linear as linear


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.process
def test_import_is_under_three_tenths_of_a_second():
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert python("import uqkd").returncode == 0
        times.append(time.perf_counter() - start)
    assert statistics.median(times) < 0.3


@pytest.mark.process
def test_import_loads_no_library():
    done = python(
        "import sys, uqkd; print([m for m in ('numpy', 'scipy', 'pandas', 'torch', 'vllm') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]"


# A finder that makes libraries unimportable, as if they were not installed.
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}: raise ModuleNotFoundError(f'No module named {{name!r}}', name=name.split('.')[0])
sys.meta_path.insert(0, Missing())
"""
HEAVY = ("torch", "vllm", "pandas", "pyarrow", "matplotlib", "sklearn", "statsmodels", "pydantic", "typer")


@pytest.mark.process
def test_the_core_runs_with_numpy_and_scipy_alone():
    """Every other dependency is made unimportable; layer 1 still runs end to end."""
    code = WITHOUT.format(names=HEAVY) + (
        "import numpy as np\n"
        "from uqkd import estimators, linear, seeds\n"
        "from uqkd.theory import checks\n"
        "X = np.column_stack([np.ones(9), np.arange(9.0)])\n"
        "t = linear.Teacher.fit(X, np.arange(9.0) ** 2, noise_var=1.0)\n"
        "s = linear.distill(linear.Design.of(X), linear.weigh(t.respond(X, 3, students=4, key=('t',))), head='carried')\n"
        "print(estimators.decompose_variance(s.predict(X, 3, key=('u',))).mean.inter)\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.process
def test_only_networks_need_torch():
    """Without torch every other room works; a study of networks says in one line what is missing."""
    code = WITHOUT.format(names=("torch", "vllm")) + (
        "import uqkd.cli, uqkd.run, uqkd.store, uqkd.data, uqkd.report.figures, uqkd.report.page, uqkd.theory.checks, uqkd.linear\n"
        "from uqkd.errors import OptionError\n"
        "from uqkd.run import load_study, study_names\n"
        "for name in study_names():\n"
        "    try:\n"
        "        print('loads', load_study(name).name)\n"
        "    except OptionError as problem:\n"
        "        print('refused', problem)\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    loaded = {line.split()[1] for line in lines if line.startswith("loads")}
    assert loaded == {
        "comparison_power", "data_bootstrap", "estimator_bias", "intra_suppression", "llm_real", "response_averaging",
        "teacher_noise", "theory_checks", "variance_weighting",
    }  # fmt: skip
    refused = [line for line in lines if line.startswith("refused")]
    assert len(refused) == len(lines) - len(loaded) > 0
    assert all("needs torch, which is not installed: pip install 'uqkd[torch]'" in line for line in refused)


# What others build on; a name that disappears here breaks them.
CONTRACT = [
    "decompose_variance",
    "inter_student_variance",
    "intra_student_variance",
    "decompose_gaussian",
    "decompose_categorical",
    "average_responses",
    "fit_averaging_law",
    "inverse_variance_weight",
    "blue",
    "graybill_deal",
    "shrink_variances",
    "variance_components",
    "bootstrap_interval",
    "variance_interval",
    "expected_calibration_error",
    "overconfidence_error",
    "signed_gap",
    "brier_score",
    "negative_log_likelihood",
    "fit_temperature",
    "reliability_curve",
]


@pytest.mark.parametrize("name", CONTRACT)
def test_the_names_that_others_rely_on(name):
    assert callable(getattr(estimators, name))
    assert ">>>" in getattr(estimators, name).__doc__


# They need trained networks, or a whole task; tests/classify runs all of them.
WITHOUT_EXAMPLE = {"against_teacher", "measure_mixup", "out_of_fold"}


def test_every_public_name_exists_and_is_documented_with_an_example():
    for package in (estimators, linear, classify):
        for name in package.__all__:
            thing = getattr(package, name)
            assert (thing.__doc__ or "").strip(), name
            if callable(thing) and not isinstance(thing, type):
                assert ">>>" in thing.__doc__ or name in WITHOUT_EXAMPLE, name


def test_names_of_the_language_layer_are_what_they_say_whatever_was_imported_before():
    """A submodule named like a function would take its place once it is imported."""
    import importlib
    import pkgutil

    import uqkd.llm

    for part in pkgutil.iter_modules(uqkd.llm.__path__):
        assert part.name not in uqkd.llm.__all__
    for name in uqkd.llm.__all__:
        assert getattr(uqkd.llm, name) is getattr(importlib.import_module(uqkd.llm._HOME[name]), name)


@pytest.mark.process
def test_the_language_layer_alone_loads_no_engine():
    done = python("import sys, uqkd.llm; print([m for m in ('torch', 'transformers', 'vllm') if m in sys.modules])")
    assert done.stdout.strip() == "[]"
