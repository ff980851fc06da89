"""Fault 31: HTML, LaTeX and formulas in a teacher's text are data: kept to the letter, and never run or rendered."""

from __future__ import annotations

import html
import json
import re

import pandas as pd
import pytest
from toys import ToyEncoder, ToyTeacher

from uqkd.cli import main
from uqkd.estimators import comparison
from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.prompts import Prompts, read_prompts
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Completion
from uqkd.report import figures
from uqkd.report import page as gallery
from uqkd.store import Store

HOSTILE = (
    "<script>alert(1)</script>", "\\input{/etc/passwd} $\\write18{ls}$", '=HYPERLINK("http://x","y")', "+1+cmd|'/C calc'!A0",
    "@SUM(A1)", "-2+3", 'quote " comma , newline \n end', "{{ 7*7 }} {% raw %}", "\u202egnp.exe", "[red]rich[/red] [bold]",
)  # fmt: skip
PROMPTS = Prompts(tuple(f"q{i}" for i in range(len(HOSTILE))), HOSTILE)


def hostile_teacher():
    """Answers each prompt with itself."""

    def answer(request):
        return Completion((5, 2), HOSTILE[request.prompt_token_ids[0]], (-1.0, 0.0), "stop")

    encoder = ToyEncoder(ids=lambda text: (HOSTILE.index(text),))
    return ToyTeacher(answer, encoder=encoder, name="<b>teacher</b>")


def test_text_is_kept_to_the_letter(tmp_path):
    bank = fill_bank(hostile_teacher(), PROMPTS, 1, bank=Bank(tmp_path), sampling=Sampling())
    table = bank.table(PROMPTS)
    assert tuple(table["text"]) == tuple(table["prompt"]) == HOSTILE
    assert tuple(bank.responses(PROMPTS, students=1, k=1, per_student=1).texts(0, i)[0] for i in range(10)) == HOSTILE
    assert (table["flags"] == "").all()
    assert set(table["teacher"]) == {"<b>teacher</b>"}


def test_a_prompts_file_of_such_texts_reads_to_the_letter(tmp_path):
    frame = pd.DataFrame({"prompt": HOSTILE})
    frame.to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"prompt": text}) for text in HOSTILE))
    assert read_prompts(tmp_path / "a.csv").texts == read_prompts(tmp_path / "a.jsonl").texts == HOSTILE


@pytest.mark.parametrize("text", HOSTILE)
def test_captions_titles_and_tables_show_it_as_text(tmp_path, text):
    """A study that quotes a response in its caption and its table: on the page it is text, in the table it is data."""

    class Run:
        store, study, settings = Store(tmp_path), "demo", {}

    row = {**comparison("T1", text, 1.0, 1.1, 0.1), "response": text}
    figure, axes = figures.panels(1, 1)
    axes[0, 0].plot([1, 2])
    figures.publish(Run(), figure, table=pd.DataFrame([row, row]), title="What?", caption=f"It said {text}.")
    gallery.write(Run.store)
    page = (tmp_path / "index.html").read_text()
    (caption,) = re.findall(r"<p>(.*?)</p>", page, re.DOTALL)
    assert "<" not in caption
    assert html.unescape(caption) == f"It said {text}."
    assert "<script" not in page
    assert pd.read_csv(tmp_path / "tables" / "demo.csv")["response"].tolist() == [text, text]


def test_the_command_shows_such_prompts_as_text(tiny, tmp_path, capsys):
    prompts = tmp_path / "p.jsonl"
    prompts.write_text(
        "\n".join(json.dumps({"prompt": text, "id": f"<i>{i}</i>"}) for i, text in enumerate(HOSTILE[:3]))
    )
    arguments = [
        "--teacher",
        str(tiny),
        "--prompts",
        str(prompts),
        "--bank",
        str(tmp_path / "b"),
        "--backend",
        "transformers",
    ]
    with pytest.raises(SystemExit, match="0"):
        main(["sample", *arguments, "--k", "1", "--max-flagged", "1", "--max-tokens", "2"])
    assert "prompt '<i>0</i>'" in capsys.readouterr().out
