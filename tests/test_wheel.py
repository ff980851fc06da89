"""The wheel works where nobody has the project: without extras every command explains itself, with them studies run.

Nothing is downloaded: an environment's libraries are links to those of this one, as far as the wheel declares them.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PARTS = ("uqkd", "studies", "docs/llm_real", "pyproject.toml", "setup.py", "README.md", "LICENSE")
LINES = {  # a line of each command that gets beyond its options
    "answers": "nowhere",
    "compact": "nowhere",
    "compare": "one.csv other.csv",
    "distill": "--bank nowhere --student nowhere --out students",
    "import": "nowhere.csv --bank theirs",
    "list": "",
    "measure": "--students nowhere --prompts nowhere.csv --out measured",
    "new": "mine",
    "plan": "--components nowhere.json --budget 1",
    "report": "nowhere",
    "sample": "--teacher nowhere --prompts nowhere.csv --bank bank",
    "show": "nowhere",
    "study": "teacher_noise",
    "verify": "nowhere",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a source distribution of the project, as an index would have both."""
    tree, made = (tmp_path_factory.mktemp(name) for name in ("tree", "made"))
    for part in PARTS:
        (tree / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / part).is_file():
            shutil.copy(ROOT / part, tree / part)
    source = "import sys, setuptools.build_meta as made; print(made.build_sdist(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", source, made], cwd=tree, check=True, capture_output=True)
    (archive,) = made.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(made, filter="data")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", made]
    subprocess.run([*pip, archive.with_name(archive.name.removesuffix(".tar.gz"))], check=True, capture_output=True)
    (built,) = made.glob("*.whl")
    return built


class Environment:
    """A virtual environment with the wheel and what it declares, and an empty folder to work in."""

    def __init__(self, place: Path, wheel: Path, extras: set[str]) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)
        self.python = place / "venv" / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--no-index", "--no-deps", wheel]
        subprocess.run(pip, check=True, capture_output=True)
        (self.packages,) = (place / "venv" / "lib").glob("python*/site-packages")
        (own,) = importlib.metadata.distributions(name="uqkd", path=[str(self.packages)])
        self._link(own.requires or [], {"", *extras}, set())
        self.folder = place / "empty"
        self.folder.mkdir()

    def _link(self, requires: list[str], extras: set[str], seen: set[tuple[str, str]]) -> None:
        """Links to the libraries that are required with any of the extras, and to what they require."""
        for wanted in map(Requirement, requires):
            needed = wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras)
            if not needed or (wanted.name, str(sorted(wanted.extras))) in seen:
                continue
            seen.add((wanted.name, str(sorted(wanted.extras))))
            library = importlib.metadata.distribution(wanted.name)
            for top in {Path(str(file)).parts[0] for file in library.files or []} - {"..", "__pycache__"}:
                if not (self.packages / top).exists():
                    (self.packages / top).symlink_to(library.locate_file(top))
            self._link(library.requires or [], {"", *wanted.extras}, seen)

    def uqkd(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command in the empty folder, without anything that leads to the project."""
        line = [self.python.with_name("uqkd"), *words]
        return subprocess.run(line, cwd=self.folder, capture_output=True, text=True, env={"COLUMNS": "100", "PATH": ""})


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Environment:
    """The wheel without extras."""
    return Environment(tmp_path_factory.mktemp("bare"), wheel, set())


@pytest.fixture(scope="module")
def studies(wheel, tmp_path_factory) -> Environment:
    """The wheel with the extra that studies need."""
    return Environment(tmp_path_factory.mktemp("studies"), wheel, {"studies"})


@pytest.mark.slow
@pytest.mark.process
def test_the_wheel_holds_the_package_and_the_studies(bare):
    inside = bare.packages / "uqkd"
    for part in (ROOT / "uqkd").rglob("*"):
        if part.suffix in (".py", ".cpp", ".jinja", ".css", ".js"):
            assert (inside / part.relative_to(ROOT / "uqkd")).read_bytes() == part.read_bytes()
    shipped = [path for folder in ("studies", "docs/llm_real") for path in (ROOT / folder).rglob("*.*")]
    for path in shipped:
        if path.suffix != ".pyc":
            assert (inside / "_bundled" / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


@pytest.mark.slow
@pytest.mark.process
def test_without_extras_the_help_lists_every_command(bare):
    for words in ((), ("--help",)):
        done = bare.uqkd(*words)
        assert done.returncode == (0 if words else 2)
        listed = re.findall(r"^  (\w+)  +[A-Z].{20,}$", done.stdout + done.stderr, re.MULTILINE)
        assert sorted(listed) == sorted(LINES)
        assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("command", sorted(LINES.keys() - {"plan"}))
def test_without_extras_every_command_says_in_one_line_what_to_install(bare, command):
    done = bare.uqkd(command, *LINES[command].split())
    assert (done.returncode, done.stdout) == (2, "")
    extras = "studies,torch,llm" if command in ("sample", "distill", "measure") else "studies"
    said = rf"error: uqkd {command} needs \w+, which is not installed: pip install 'uqkd\[{extras}\]'\.\n"
    assert re.fullmatch(said, done.stderr), done.stderr
    assert f"pip install 'uqkd[{extras}]'" in bare.uqkd(command, "--help").stdout
    assert list(bare.folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.process
def test_a_plan_needs_extras_for_its_picture_alone(bare):
    (bare.folder / "known.json").write_text('{"prompt": 0.04, "student": 0.001, "decoding": 0.2}')
    line = ["plan", "--components", "known.json", "--cost-student", "300", "--cost-draw", "0.01", "--budget", "3600"]
    done = bare.uqkd(*line)
    assert (done.returncode, done.stderr) == (0, "")
    assert "±" in done.stdout
    done = bare.uqkd(*line, "--figure", "curve.png")
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: uqkd plan needs \w+, which is not installed: pip install 'uqkd\[studies\]'\.\n", done.stderr
    )
    (bare.folder / "known.json").unlink()


@pytest.mark.slow
@pytest.mark.process
def test_studies_run_in_an_empty_folder(studies):
    listed = studies.uqkd("list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.startswith("with uqkd:\n")
    assert "\nteacher_noise: How far does" in listed.stdout
    assert "\nmlp_teacher_noise: study 'mlp_teacher_noise' needs torch, which is not installed:" in listed.stdout
    done = studies.uqkd("study", "teacher_noise", "--set", "replicates=20", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert (studies.folder / "results/figures/teacher_noise.png").is_file()


@pytest.mark.slow
@pytest.mark.process
def test_what_a_study_reads_comes_with_it(studies):
    done = studies.uqkd("study", "llm_real", "--workers", "1")
    assert done.returncode == 0, done.stderr
    about = (studies.folder / "results/figures/llm_real.json").read_text()
    assert "Drawn from the recorded answers in docs/llm_real/answers.csv" in about
    asked = "from uqkd.run import here_or_bundled, load_study; from uqkd.llm.prompts import read_prompts; "
    asked += "o = load_study('llm_real').options('real'); "
    asked += "print([len(read_prompts(here_or_bundled(file))) for file in (o.train, o.held_out)])"
    done = subprocess.run([studies.python, "-c", asked], cwd=studies.folder, capture_output=True, text=True)
    assert re.fullmatch(r"\[\d\d+, \d\d+\]\n", done.stdout), done.stderr


@pytest.mark.slow
@pytest.mark.process
def test_a_study_whose_library_is_missing_says_which_extra(studies):
    done = studies.uqkd("study", "mlp_teacher_noise")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "needs torch, which is not installed: pip install 'uqkd[torch]'" in done.stderr


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.process
def test_a_new_study_runs_and_its_results_are_compacted(studies):
    assert studies.uqkd("new", "mine").stdout.endswith("then: uqkd study mine\n")
    done = studies.uqkd("study", "mine", "--set", "replicates=20", "--out", "own", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert (studies.folder / "own/figures/mine.png").is_file()
    assert studies.uqkd("list").stdout.startswith("in ./studies:\nmine: mine: How far does")
    done = studies.uqkd("compact", "own")
    assert re.fullmatch(r"mine: 45 units in 45 files, [\d,]+ bytes -> 45 units in 1 file, [\d,]+ bytes\n", done.stdout)
    assert "45 units verified, 0 bad" in studies.uqkd("verify", "own").stdout
