"""`uqkd distill`, `uqkd measure` and `uqkd report` on real small models: the card in every student's README, and the page."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import ModelCard

from uqkd import seeds
from uqkd.cli import main
from uqkd.errors import UqkdWarning
from uqkd.llm import World
from uqkd.llm.synthetic.testbed import Size, tokenizer
from uqkd.store.durable import LocalFolder

pytestmark = pytest.mark.slow  # models are trained and asked

SCRIPT = "<script>alert(1)</script>"


def uqkd(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model that says anything, prompts, a bank of 4 responses for each of 2 students and another of 3."""
    from transformers import LlamaForCausalLM

    root = tmp_path_factory.mktemp("cards")
    world = World.make(groups=2, entities=2, key=("test", "cards"))
    coder = tokenizer(world)
    with seeds.torch_stream("test", "cards"):
        model = LlamaForCausalLM(Size(16, 32, 1, 2).config(len(coder)))
    torch.nn.init.zeros_(model.lm_head.weight)  # every token alike
    model.save_pretrained(root / "teacher")
    coder.save_pretrained(root / "teacher")
    prompts = world.prompts(relations=["home", "food"])
    rows = [{"prompt": t, "answers": list(a)} for t, a in zip(prompts.texts, prompts.answers, strict=True)]
    for name, chosen in (("prompts", rows), ("some", rows[:5])):
        (root / f"{name}.jsonl").write_text("\n".join(map(json.dumps, chosen)))
    words = ("--teacher", root / "teacher", "--backend", "transformers", "--max-tokens", 50)
    assert (
        uqkd("sample", *words, "--prompts", root / "some.jsonl", "--k", 4, "--students", 2, "--bank", root / "bank")
        == 0
    )
    more = ("--k", 3, "--seed-key", "held-out", "--bank", root / "held")
    assert uqkd("sample", *words, "--prompts", root / "prompts.jsonl", *more) == 0
    return root


def distilled(place, name, *more, students=2):
    words = ("--bank", place / "bank", "--student", place / "teacher", "--out", place / name, "--students", students)
    return uqkd("distill", *words, "--steps", 3, "--batch", 4, *more)


def measured(place, name, *more, prompts="prompts", table="table"):
    words = (
        "--students",
        place / name,
        "--prompts",
        place / f"{prompts}.jsonl",
        "--out",
        place / f"{name}-{table}.csv",
    )
    return uqkd("measure", *words, "--draws", 3, "--max-tokens", 6, *more)


class Page(HTMLParser):
    """Tags, what they fetch, and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.images = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.tags.append(tag)
        self.links += [known[name] for name in ("src", "href", "srcset", "poster", "data") if known.get(name)]
        if tag == "img":
            self.images.append(known)


def checked(path):
    """The page of a report: it fetches nothing, runs nothing, is small, and its contents lead somewhere."""
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert len(text.encode()) <= 2_000_000
    assert "script" not in page.tags
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(re.findall(r'id="([^"]+)"', text))
    assert all(one.get("alt") and one.get("width") and one.get("height") for one in page.images)
    assert "url(" not in text
    assert "@import" not in text
    return text


@pytest.fixture(scope="module")
def made(place):
    """Two students with adapters, measured on prompts of which five are those they learnt."""
    assert distilled(place, "made", "--lora", 2) == 0
    (place / "before.md").write_bytes((place / "made" / "student-0" / "README.md").read_bytes())
    readme = place / "made" / "student-1" / "README.md"
    readme.write_text(readme.read_text() + "\nI trained this on a Sunday.\n")
    assert measured(place, "made", "--teacher-bank", place / "held") == 0
    return place / "made"


def test_the_card_stands_before_measuring_and_is_completed_by_it(place, made):
    before, after = ModelCard.load(place / "before.md"), ModelCard.load(made / "student-0" / "README.md")
    assert "**is not known** until" in before.text
    assert before.data["uqkd"]["measured"] == []
    assert "More Information Needed" not in before.text  # the form that adapters are saved with
    assert (before.data["library_name"], before.data["base_model"], before.data["teacher"]) == (
        "peft",
        "teacher",
        "teacher",
    )
    found = pd.read_csv(place / "made-table.csv").set_index("quantity")
    (numbers,) = after.data["uqkd"]["measured"]
    for name in ("inter_gini", "intra_gini", "share_kept", "kappa", "unsupported", "calibration_gap"):
        row = found.loc[name]
        wanted = [row[part] for part in ("estimate", "low", "high") if not np.isnan(row[part])]
        assert numbers[name] == pytest.approx(wanted, abs=1e-6)
    assert "is not known" not in after.text
    assert (
        f"### Measured on {len(pd.read_csv(place / 'made-table.prompts.csv'))} prompts, 5 of them learnt" in after.text
    )
    assert "what a third student would be" in after.text


def test_a_card_comes_back_from_the_hub_as_it_was(place, made, tmp_path):
    for file in (place / "before.md", *made.glob("student-*/README.md")):
        card = ModelCard.load(file)
        card.save(tmp_path / "again.md")
        again = ModelCard.load(tmp_path / "again.md")
        assert (again.data.to_dict(), again.content) == (card.data.to_dict(), card.content)
        assert (tmp_path / "again.md").read_bytes() == file.read_bytes()


def test_what_somebody_wrote_into_a_readme_survives_and_the_student_is_still_whole(place, made, capsys):
    assert (made / "student-1" / "README.md").read_text().endswith("\nI trained this on a Sunday.\n")
    capsys.readouterr()
    assert distilled(place, "made", "--lora", 2) == 0
    assert "all 2 students are there already" in capsys.readouterr().out
    assert not (made / "quarantine").exists()
    assert "Measured on" in (made / "student-1" / "README.md").read_text()


def test_measuring_again_gives_the_same_card_and_other_prompts_are_added(place, made):
    first = (made / "student-0" / "README.md").read_bytes()
    assert measured(place, "made", "--teacher-bank", place / "held") == 0
    assert (made / "student-0" / "README.md").read_bytes() == first
    assert measured(place, "made", "--no-base", prompts="some", table="some") == 0
    card = ModelCard.load(made / "student-0" / "README.md")
    assert [one["learnt_prompts"] for one in card.data["uqkd"]["measured"]] == [5, 5]
    assert "### Measured on 5 prompts, all of them learnt" in card.text


def test_students_that_cannot_be_written_to_are_measured_with_a_line(place, capsys, monkeypatch):
    assert distilled(place, "kept") == 0
    before = (place / "kept" / "student-0" / "README.md").read_bytes()
    real = LocalFolder.write

    def write(self, path, data):  # as a read-only disk: root may write into any folder, so that modes do not tell
        if self.root == place / "kept":
            from uqkd.store.durable import _reporting

            with _reporting("write", self.root / path, len(data)):
                raise OSError(30, "Read-only file system")
        real(self, path, data)

    monkeypatch.setattr(LocalFolder, "write", write)
    capsys.readouterr()
    assert measured(place, "kept", "--no-base") == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "Read-only" in line]
    assert line.startswith("note: no uncertainty card was written: could not write ")
    assert (place / "kept-table.csv").is_file()
    assert (place / "kept" / "student-0" / "README.md").read_bytes() == before
    assert uqkd("report", place / "kept") == 2
    assert "Read-only file system" in capsys.readouterr().err
    assert uqkd("report", place / "kept", "--out", place / "elsewhere.html") == 0
    checked(place / "elsewhere.html")


def test_a_readme_that_cannot_be_merged_is_left_alone_with_a_line(place, capsys):
    assert distilled(place, "torn") == 0
    readme = place / "torn" / "student-0" / "README.md"
    readme.write_text(readme.read_text().replace("<!-- uqkd card: end", "<!-- gone"))
    torn = readme.read_bytes()
    (place / "torn" / "student-1" / "README.md").write_bytes(b"\xff\xfe not UTF-8")
    capsys.readouterr()
    assert distilled(place, "torn") == 0
    out = capsys.readouterr().out
    assert "note: the uncertainty card of student-0 was not written: README.md needs one line that begins" in out
    assert "note: the uncertainty card of student-1 was not written: 'utf-8'" in out
    assert readme.read_bytes() == torn


def test_one_student_of_three_diverges(place, capsys, monkeypatch):
    """Its targets are NaN from its second step on; the others' cards and the report count it."""
    from uqkd.llm.students.training import job

    real = job.training_rows

    def poisoned(targets, **how):
        rows = real(targets, **how)
        weights = rows.weights.copy()
        weights[1, rows.orders[1, 1, 0]] = np.nan
        return replace(rows, weights=weights)

    monkeypatch.setattr(job, "training_rows", poisoned)
    with pytest.warns(UqkdWarning, match="2 of 3 students are kept"):
        assert distilled(place, "three", "--exclude-failed", students=3) == 0
    assert sorted(path.name for path in (place / "three").glob("student-*")) == ["student-0", "student-2"]
    assert measured(place, "three", "--no-base") == 0
    text = (place / "three" / "student-2" / "README.md").read_text()
    assert "1 of 3 students, which diverged (student-1 at step " in text
    assert ModelCard(text).data["uqkd"]["diverged_or_missing"] == 1
    assert uqkd("report", place / "three") == 0
    assert "of 3 that were begun" in checked(place / "three" / "report.html")


def test_a_bank_of_text_alone(place, capsys):
    """Responses of somebody, without seeds or log-probabilities: distilled, measured beside themselves, and reported."""
    said = ["rome", "Rome.", "paris", SCRIPT, "\x1b[31mred", "rome"]
    prompts = [json.loads(line)["prompt"] for line in (place / "some.jsonl").read_text().splitlines()]
    rows = [{"prompt": prompt, "response": text} for prompt in prompts for text in said]
    (place / "said.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert uqkd("import", place / "said.jsonl", "--teacher", SCRIPT, "--bank", place / "theirs") == 0
    words = ("--bank", place / "theirs", "--student", place / "teacher", "--out", place / "text", "--students", 2)
    assert uqkd("distill", *words, "--steps", 2, "--batch", 4) == 0
    assert measured(place, "text", "--no-base", "--teacher-bank", place / "theirs", prompts="some") == 0
    text = (place / "text" / "student-0" / "README.md").read_text()
    assert "by name only: its responses were imported" in text
    assert "seeds unknown, no log-probabilities" in text
    assert "whether the teacher's responses are independent: their seeds are unknown" in text
    assert "**which the students learnt**" in text
    assert ModelCard(text).data["teacher"] == SCRIPT
    for name in ("text", "theirs"):
        assert uqkd("report", place / name, "--out", place / f"{name}.html") == 0
        page = checked(place / f"{name}.html")
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "\x1b" not in page
        assert "\\x1b[31mred" in page
    assert re.search(r"rome.*?3 of 6", (place / "theirs.html").read_text(), re.DOTALL)


def test_the_report_of_students_shows_numbers_and_answers_side_by_side(place, made, capsys):
    capsys.readouterr()
    assert uqkd("report", made) == 0
    assert f"{made}/report.html: a folder of students, " in capsys.readouterr().out
    text = checked(made / "report.html")
    found = pd.read_csv(place / "made-table.csv").set_index("quantity")
    row = found.loc["intra_gini"]
    assert f"{row['estimate']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in text
    for name in ("teacher", "undistilled", "all students", "student-0", "student-1"):
        assert f'<th scope="col">{name}</th>' in text
    assert "<h2>Not measured</h2>" in text
    assert "uqkd measure --students" in text


def test_a_report_before_anything_was_measured(place):
    assert distilled(place, "fresh", "--fresh") == 0
    assert uqkd("report", place / "fresh") == 0
    text = checked(place / "fresh" / "report.html")
    assert "These students have not been measured." in text
    assert "new parameters" in text


def test_what_a_report_is_not_of_is_told(place, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert uqkd("report", tmp_path / "empty") == 2
    assert "is none of what a report is of" in capsys.readouterr().err
    assert uqkd("report", tmp_path / "gone") == 2
    assert "there is no folder" in capsys.readouterr().err
    assert uqkd("report", place / "bank", "--out", "x.pdf") == 2
    assert "ends in .html" in capsys.readouterr().err
