"""The pages are true: their code runs, their commands parse and run, their links and names lead somewhere, and no public name
is without an entry."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
import yaml
from documents import ROOT, command_line_page, commands, make_targets, parse, reader_folder, steps

from uqkd import estimators
from uqkd.cli import main
from uqkd.run import load_study

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
NAMES = [str(path.relative_to(DOCS)) for path in PAGES]
TEXTS = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def hook():
    """docs/expand.py as a module."""
    spec = importlib.util.spec_from_file_location("expand", DOCS / "expand.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXPAND = hook()


def with_steps() -> list[str]:
    return [name for name in NAMES if steps((DOCS / name).read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def run_page(tmp_path_factory):
    """Run a page once, in the order of its blocks, in one namespace and one folder; what its code leaves in that namespace."""

    @cache
    def run(name: str) -> dict:
        scope = {"__name__": "page"}
        with pytest.MonkeyPatch.context() as patched, redirect_stdout(StringIO()):
            patched.chdir(reader_folder(tmp_path_factory.mktemp("page")))
            for number, step in enumerate(steps((DOCS / name).read_text(encoding="utf-8"))):
                if step.language == "python" and not step.skipped:
                    exec(compile(step.text, f"{name}, block {number}", "exec"), scope)
                for command in commands(step.text) if not step.skipped else []:
                    with pytest.raises(SystemExit) as ended:  # in this process, which has loaded everything
                        main(shlex.split(command)[1:])
                    assert ended.value.code == 0, command
        return scope

    return run


SLOW = {"planning.md", "paths/language_model.md", "paths/studies.md", "layers/classifiers.md", "paths/theory.md"}


@pytest.mark.process  # workers of a study
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in with_steps()]
)
def test_code_and_commands_run_in_the_order_of_the_page(name, run_page):
    run_page(name)


@pytest.mark.slow
def test_the_statement_of_the_theory_page_stands_and_its_wrong_versions_are_rejected(run_page):
    right, *wrong = run_page("paths/theory.md")["outcomes"]
    assert not right.rejected
    assert len(wrong) >= 2
    assert all(outcome.rejected for outcome in wrong)


@pytest.mark.slow
def test_what_the_page_on_language_models_says_of_its_students(run_page):
    """Of one response almost nothing, of eight most; the statement itself (T4) is held in tests/theory."""
    kept = run_page("paths/language_model.md")["kept"]
    assert kept["single"] < 0.1
    assert 0.75 < kept["multi"] < 1.05  # 7/8, before training is at its end


@pytest.mark.process
def test_the_study_of_the_page_is_one(tmp_path, monkeypatch, capsys):
    code = next(step.text for step in steps((DOCS / "adding.md").read_text()) if step.language == "python")
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_study("mine.py").question == "How far does the mean of k keyed draws lie from zero?"
    with pytest.raises(SystemExit, match="0"):
        main(["study", "mine.py", "--workers", "1", "--out", "made"])
    assert "variance" in capsys.readouterr().out


def all_commands() -> list[str]:
    return list(dict.fromkeys(command for path in TEXTS for command in commands(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("command", all_commands())
def test_every_command_parses(command):
    parse(shlex.split(command)[1:])


def test_a_command_that_does_not_parse_is_seen():
    with pytest.raises(Exception, match="No such option"):
        parse(["study", "all", "--replicates", "3"])


@pytest.mark.parametrize("name", NAMES)
def test_a_block_is_skipped_for_a_reason_that_holds(name):
    """What the README's tests are said to run stands in the README to the letter."""
    for step in steps((DOCS / name).read_text(encoding="utf-8")):
        if step.skipped and "README" in step.skipped:
            assert all(command in README for command in commands(step.text))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_commands_exist(path):
    assert set(re.findall(r"`make ([a-z-]+)", path.read_text(encoding="utf-8"))) <= make_targets()


def links(text: str) -> Iterator[str]:
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    return (link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if not link.startswith("http"))


def slugs(text: str) -> set[str]:
    """Anchors of the headings, as Python-Markdown makes them."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    plain = (unicodedata.normalize("NFKD", head.replace("`", "")).encode("ascii", "ignore").decode() for head in heads)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower()) for head in plain}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for link in links(path.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), link
        if anchor:
            assert anchor in slugs(target.read_text(encoding="utf-8")), link


def resolve(dotted: str) -> object:
    """What a full name stands for; `AttributeError` or `ModuleNotFoundError` where there is nothing of that name."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            if cut == 1:
                raise
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise AssertionError(dotted)


SHORT = {
    "theory": "uqkd.theory.statements",
    **{room: f"uqkd.{room}" for room in ("estimators", "linear", "mlp", "llm", "classify")},
}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_in_the_text_resolve(path):
    """`uqkd.x.y`, `theory.x` of the statements, and paths of the tree."""
    prose = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for code in re.findall(r"`([^`\n]+)`", prose):
        if name := re.fullmatch(r"(uqkd(?:\.\w+)+)(?:\(.*\))?", code):
            resolve(name[1])
        elif name := re.fullmatch(rf"({'|'.join(SHORT)})((?:\.\w+)+)(?:\(.*\))?", code):
            resolve(SHORT[name[1]] + name[2])
        elif re.fullmatch(r"(uqkd|tests|studies|docs|bench)/[\w./]*", code):
            assert (ROOT / code).exists(), code


def test_a_name_that_is_none_is_seen():
    with pytest.raises(AttributeError):
        resolve("uqkd.estimators.decompose_varance")


def test_the_page_of_estimators_names_what_there_is_and_every_function_that_decomposes():
    prose = re.sub(r"```.*?```", "", (DOCS / "estimators.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    named = {name for name in re.findall(r"`([A-Za-z_]+)(?:\([^`]*\))?`", prose) if name[0].isalpha()}
    assert named <= set(estimators.__all__)
    kinds = ("decompose", "fit", "shrink", "estimate")
    assert {name for name in estimators.__all__ if name.startswith(kinds)} <= named


def test_every_method_of_classifiers_stands_in_their_page():
    from uqkd.classify import METHODS

    page = (DOCS / "layers/classifiers.md").read_text(encoding="utf-8")
    assert set(re.findall(r'"([^"]+)"', re.findall(r"^\| method \|.*?\n\n", page, re.MULTILINE | re.DOTALL)[0])) == set(
        METHODS
    )


@pytest.mark.parametrize("face", EXPAND.FACES)
def test_every_public_name_has_an_entry(face):
    """In the page of its module, or of the one that it comes from; the names are those of the running package."""
    page = DOCS / "api" / f"{EXPAND.FACES[face]}.md"
    assert f"<!-- api: {face} -->" in page.read_text(encoding="utf-8")
    module = importlib.import_module(face)
    public = getattr(module, "__all__", None) or list(EXPAND.public_names(face))
    assert set(EXPAND.public_names(face)) == set(public)
    text = EXPAND.api(face)
    assert not re.findall(r"^\| .* \| +\|$", text, re.MULTILINE)  # each with a line that says what it is
    for name in public:
        assert f"`{name}`" in text, name
        home = EXPAND.public_names(face)[name]
        owner = EXPAND.owner_of(home, face)
        is_entry = f"::: {face}.{name}\n" in f"{text}\n"
        assert is_entry == (owner == face and callable(getattr(module, name)) and EXPAND.constant(home) is None), name
        if owner not in (face, home):  # the page of another module has it; or it is that module
            assert EXPAND.public_names(owner)[name] == home


def test_a_page_for_every_face_and_an_entry_in_the_navigation_for_every_page():
    configured = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert set(re.findall(r": ([\w/]+\.md)", configured)) == set(NAMES)
    assert {f"api/{page}.md" for page in EXPAND.FACES.values()} <= set(NAMES)


def test_the_command_line_page_is_current():
    """Written anew with UQKD_WRITE_DOCS=1."""
    page = DOCS / "command_line.md"
    if os.environ.get("UQKD_WRITE_DOCS"):
        page.write_text(command_line_page(), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == command_line_page(), (
        "stale; write it anew with UQKD_WRITE_DOCS=1 and this test"
    )


def test_the_citation_is_one():
    """The keys that the format's version 1.2.0 requires, and the package's version and licence."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{cited["version"]}"' in project
    assert f'license = "{cited["license"]}"' in project
    assert cited["authors"] == [{"name": "uqkd developers"}]
    assert f"## {cited['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Ids, what is fetched when the page is shown, tables, and comments of a built page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.fetched: list[str] = []
        self.cells = 0
        self.comments: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        self.cells += tag == "td"
        if tag in ("script", "img", "link", "iframe") and given.get("rel") not in ("canonical", "prev", "next"):
            self.fetched.append(given.get("src") or given.get("href") or "")

    def handle_comment(self, data):
        self.comments.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` built it from the files that there are now, or built here."""
    there, sources = ROOT / "site", [*DOCS.rglob("*"), *(ROOT / "uqkd").rglob("*.py"), *ROOT.glob("*.*")]
    if (there / "index.html").is_file() and (there / "index.html").stat().st_mtime > max(
        f.stat().st_mtime for f in sources
    ):
        return there
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None:
        pytest.skip("MkDocs is not installed: make docs, or pip install 'uqkd[docs]'")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def built(site: Path, name: str) -> str:
    bare = re.sub(r"(README|index)$", "", name.removesuffix(".md")).rstrip("/")
    return (site / bare / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.process
def test_the_site_builds_and_its_entries_are_not_empty(site):
    for face, page in EXPAND.FACES.items():
        text = built(site, f"api/{page}.md")
        ids = Page(text).ids
        for line in EXPAND.api(face).splitlines():
            if line.startswith("::: "):
                assert line.removeprefix("::: ") in ids
        entries = re.findall(r'<div class="doc doc-contents[^"]*">(.*?)</div>', text, re.DOTALL)
        assert entries
        assert all(re.search(r"<p>\S", entry) for entry in entries), page


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("name", NAMES)
def test_a_built_page_fetches_nothing_from_outside_and_shows_its_tables(site, name):
    page, source = Page(text := built(site, name)), (DOCS / name).read_text(encoding="utf-8")
    assert [link for link in page.fetched if "//" in link] == []
    assert not [comment for comment in page.comments if comment.strip().startswith(("api:", "include:"))]
    rows = re.findall(r"^\|(?!-)", source, re.MULTILINE)
    assert page.cells >= 2 * (len(rows) - source.count("\n|--"))
    assert "<p>|" not in text
