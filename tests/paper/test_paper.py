"""The paper: its numbers come from results, what is missing fails with its name, its proofs hold where numbers can tell."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # the paper is no part of the package

from paper.__main__ import definitions, named  # noqa: E402
from paper.cells import CELLS  # noqa: E402
from paper.results import PaperError, Results  # noqa: E402
from uqkd.estimators.weighting.exact_variance import graybill_deal_variance  # noqa: E402
from uqkd.theory.statements import graybill_deal_ratio  # noqa: E402
from uqkd.theory.statements.medoid import medoid_distribution  # noqa: E402

SECTIONS = sorted((ROOT / "paper" / "sections").glob("*.tex"))
PROOFS = {"regression", "answers", "weighting", "components", "projection"}
# Arguments that are keys, lengths or layout, not text.
KEYS = re.compile(
    r"\\(?:Num|setcounter|setlength)\{[^{}]*\}\{[^{}]*\}"
    r"|\\(?:Exact|Answer|Figure|Covered|Lines|ref|label|code|eqref|cite[a-z]*)(?:\[[^\]]*\])*\{[^{}]*\}"
    r"|\\multicolumn\{\d\}|[.\d]+\\textwidth|(?<!\\)%.*"
)
MATH = re.compile(r"\\\[.*?\\\]|\\begin\{equation\}.*?\\end\{equation\}|\$.*?\$", re.DOTALL)


def typed(text: str, *, proofs: bool) -> list[str]:
    """Numbers typed by hand: digits outside mathematics; inside, decimals and, but in proofs, numbers that are no formula."""
    text = KEYS.sub("", text)
    formulas = [formula for formula in MATH.findall(text) if re.search(r"\d", formula)]
    bare = [one for one in formulas if not proofs and not re.search(r"[A-Za-z]", one)]
    decimal = [one for one in formulas if re.search(r"\d\.\d|\.\d", one)]
    return re.findall(r".{0,20}\d.{0,20}", MATH.sub("", text)) + bare + decimal


@pytest.mark.parametrize("file", SECTIONS, ids=lambda file: file.stem)
def test_no_number_is_typed_by_hand(file):
    assert typed(file.read_text(encoding="utf-8"), proofs=file.stem in PROOFS) == []
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 320


@pytest.mark.parametrize(
    "text", ["It falls by 5 percent.", "It is $0.2$ of it.", "at $20$", r"$\kappa=0.97$", r"\Num{a}{b} 3"]
)
def test_typed_numbers_are_found(text):
    assert typed(text, proofs=False)


def test_formulas_references_and_keys_are_no_numbers():
    assert typed(r"T\ref{t:x} has $1-1/k$, \Num{a}{at 4} and \Figure[.8\textwidth]{b} % 3", proofs=False) == []


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """A folder of results with every study, number and figure that the paper names, whatever their values."""
    folder = tmp_path_factory.mktemp("results")
    wanted = named(ROOT / "paper")
    (folder / "figures").mkdir()
    (folder / "tables").mkdir()
    empty = io.BytesIO()
    Figure(figsize=(2, 1)).savefig(empty, format="pdf")
    for study in {study for command in ("Num", "Answer", "Figure") for study, _ in wanted[command]}:
        about = {
            "title": f"What of {study}?",
            "caption": "α = 0.5: σ_T² ≤ 20 % & more.",
            "answer": None,
            "study": study,
        }
        (folder / "figures" / f"{study}.json").write_text(json.dumps(about), encoding="utf-8")
        (folder / "figures" / f"{study}.pdf").write_bytes(empty.getvalue())
    rows: dict[str, dict[str, dict[str, object]]] = {}
    for (study, _), cell in CELLS.items():
        limits = dict(zip(cell.limits, (0.4, 0.6), strict=False)) if isinstance(cell.limits, tuple) else {}
        students = {cell.students: 8} if cell.students else {}
        row = {**cell.where, cell.error: 0.1, **limits, cell.value: 0.5, **students}
        table = rows.setdefault(f"{study}.{cell.table}" if cell.table else study, {})
        table.setdefault(str(cell.where), {}).update(row)
    rows["claims"] = {"": dict.fromkeys(("claim", "source", "result", "study", "verdict"), "x_y < 3 & κ")}
    for name, found in rows.items():
        with (folder / "tables" / f"{name}.csv").open("w", encoding="utf-8", newline="") as opened:
            writer = csv.DictWriter(opened, list(dict.fromkeys(column for row in found.values() for column in row)))
            writer.writeheader()
            writer.writerows(found.values())
    return folder


def test_every_number_that_is_not_exact_stands_with_its_interval(results):
    named_numbers = {"Num": named(ROOT / "paper")["Num"]}
    made = "\n".join(definitions(Results(results, CELLS), named_numbers))
    numbers = re.findall(r"csname num@.*?\\endcsname\{(.*)\}", made)
    assert len(numbers) == len(named_numbers["Num"]) > 40
    assert all("[" in number for number in numbers)


def test_a_missing_study_is_named_with_the_number(results, tmp_path):
    shutil.copytree(results, tmp_path / "few")
    (tmp_path / "few" / "figures" / "estimator_bias.json").unlink()
    with pytest.raises(
        PaperError, match=r"number 'plug-in at two' of study 'estimator_bias'.*uqkd study estimator_bias"
    ):
        list(definitions(Results(tmp_path / "few", CELLS), {"Num": named(ROOT / "paper")["Num"]}))


def test_a_number_that_nothing_makes_is_named(results):
    with pytest.raises(PaperError, match=r"number 'no such' of study 'llm_real'"):
        list(definitions(Results(results, CELLS), {"Num": [("llm_real", "no such")]}))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8])
def test_the_answer_drawn_most_often_is_sharper_in_likelihood_ratio(k):
    generator = np.random.default_rng(k)
    for p in generator.dirichlet(np.full(4, 1.0), size=8):
        kept = medoid_distribution(p, k)
        ratio = (kept / p)[np.argsort(p)]
        assert (np.diff(ratio) >= -1e-9 * ratio.max()).all()  # rounding: sums of up to 165 products
        assert ((kept**2).sum() > (p**2).sum() + 1e-9) == (k >= 3)


def test_without_orthonormal_embeddings_the_rarest_answer_can_gain():
    rare = 1e-4
    p, embeddings = np.array([(1 - rare) / 2, (1 - rare) / 2, rare]), np.array([[1, 0], [0, 1], [0.5**0.5, 0.5**0.5]])
    assert medoid_distribution(p, 3, embeddings)[2] == pytest.approx(1.5 * rare, rel=4 * rare)  # and O(rare²)


@pytest.mark.parametrize(("k", "loses"), [(8, True), (9, True), (10, True), (11, False), (12, False)])
def test_plug_in_weights_lose_to_a_much_better_source_up_to_ten_draws(k, loses):
    assert (graybill_deal_ratio(k, 3000.0) > 1.0) == loses


@pytest.mark.parametrize(
    ("better", "worse", "wins"),
    [
        (11, 11, True), (10, 11, False), (10, 18, True), (18, 10, False), (19, 10, True), (9, 60, True), (60, 9, False),
        (4, 25, True), (4, 24, False),
    ],
)  # fmt: skip
def test_unequal_samples_win_far_out_where_t7_says(better, worse, wins):
    """Against the better source, whose sample has size `better`, as the other's variance grows: (k1 − 3)(k2 − 9) >= 16."""
    assert ((better - 3) * (worse - 9) >= 16) == wins
    for ratio in (1000.0, 3000.0):  # the least departure, 8e-7, is a hundred times the error of the quadrature
        far = graybill_deal_variance(
            [better, worse], [better, ratio * worse]
        )  # variances of the means: 1 and the ratio
        assert (far < 1.0) == wins


@pytest.mark.parametrize(("second", "always"), [(18, False), (19, True), (20, True)])
def test_ten_draws_suffice_where_the_other_source_has_nineteen(second, always):
    ratios = np.exp(np.linspace(-7, 7, 15))
    variances = [graybill_deal_variance([10, second], [10.0, r * second]) / min(1.0, r) for r in ratios]
    assert (max(variances) < 1.0) == always


@pytest.mark.slow
@pytest.mark.process
def test_the_paper_builds_twice_to_the_same_bytes(results, tmp_path):
    if not shutil.which("latexmk"):
        pytest.skip(
            "latexmk is not here: apt-get install latexmk texlive-latex-recommended texlive-fonts-recommended lmodern"
        )
    built = []
    for name in ("one", "two"):
        shutil.copytree(
            ROOT / "paper", tmp_path / name / "paper", ignore=shutil.ignore_patterns("generated", "main.[!t]*")
        )
        shutil.copytree(ROOT / "docs" / "coverage", tmp_path / name / "docs" / "coverage")
        there = {**os.environ, "PYTHONPATH": f"{tmp_path / name}{os.pathsep}{ROOT}"}
        run = {"cwd": tmp_path / name, "check": True, "capture_output": True, "env": there}
        subprocess.run([sys.executable, "-m", "paper", str(results)], **run)
        latex = ["latexmk", "-cd", "-pdf", "-silent", "-interaction=nonstopmode", "-halt-on-error", "paper/main.tex"]
        subprocess.run(latex, **run)
        built.append((tmp_path / name / "paper" / "main.pdf").read_bytes())
    assert built[0] == built[1]
