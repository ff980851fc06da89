"""A card in a README: what people wrote stays to the letter, a hub reads it, and what cannot be merged is told."""

import pytest
import yaml
from huggingface_hub import ModelCard

from uqkd.errors import DataError
from uqkd.report.card import Card, merged
from uqkd.report.card.merging import BEGIN, END

CARD = Card(
    {
        "base_model": "tiny",
        "library_name": "peft",
        "tags": ["uqkd", "lora"],
        "teacher": "große",
        "uqkd": {"k": 4, "measured": [{"draws": 3, "intra_gini": [0.5, 0.25, 0.75]}]},
    },
    "student-0",
    "| a | b |\n|---|---|\n| 1 | 2 |",
)
LATER = Card({**CARD.metadata, "uqkd": {"k": 4, "measured": []}}, "student-0", "Measured.\n\n\\1 \\g<0>")


def loaded(text, tmp_path):
    (tmp_path / "README.md").write_bytes(text.encode())
    card = ModelCard.load(tmp_path / "README.md")
    card.save(tmp_path / "again.md")
    again = ModelCard.load(tmp_path / "again.md")
    assert (again.data.to_dict(), again.content) == (card.data.to_dict(), card.content)
    return card


def test_a_new_card_survives_the_hub_byte_by_byte(tmp_path):
    text = merged(CARD)
    card = loaded(text, tmp_path)
    assert card.data.to_dict() == CARD.metadata
    assert (tmp_path / "again.md").read_bytes() == text.encode()
    assert CARD.body in card.text


def test_writing_twice_changes_nothing_and_the_later_card_replaces_the_earlier():
    first = merged(CARD)
    assert merged(CARD, first) == first
    second = merged(LATER, first)
    assert LATER.body in second  # to the letter: what looks like a pattern's group is none
    assert CARD.body not in second
    assert merged(LATER, second) == second
    assert merged(CARD, second) == first


MINE = """---
license: apache-2.0  # asked legal
# a remark of mine
tags:
- mine
base_model: org/tiny
language: [en, de]
---
# My student

*Before* the card.
"""


def test_what_people_wrote_stays_to_the_letter(tmp_path):
    text = merged(CARD, MINE)
    head, body = text.split("---\n", 2)[1:]
    for line in (
        "license: apache-2.0  # asked legal",
        "# a remark of mine",
        "base_model: org/tiny",
        "language: [en, de]",
    ):
        assert line in head.splitlines()
    known = loaded(text, tmp_path).data.to_dict()
    assert known["tags"] == ["mine", "uqkd", "lora"]
    assert (known["base_model"], known["library_name"], known["teacher"]) == ("org/tiny", "peft", "große")
    assert body.startswith("# My student\n\n*Before* the card.\n\n" + BEGIN)
    after = merged(LATER, text + "\nAfter it.\n\n- a list\n")
    assert after.endswith(f"{END}\n\nAfter it.\n\n- a list\n")
    assert "# My student\n\n*Before* the card.\n" in after
    assert "license: apache-2.0  # asked legal" in after
    assert yaml.safe_load(after.split("---\n")[1])["uqkd"] == LATER.metadata["uqkd"]


@pytest.mark.parametrize(
    "old",
    ["My notes, without any metadata.\n", "\n\n", "---\n---\nMine.\n", "---\ntags: mine\n---\n", "\ufeff# BOM\n", "No newline"],
)  # fmt: skip
def test_any_readme_takes_a_card(old, tmp_path):
    text = merged(CARD, old)
    assert loaded(text, tmp_path).data["uqkd"] == CARD.metadata["uqkd"]
    mine = old.removeprefix("\ufeff").split("---\n")[-1].strip()
    assert mine in text
    assert merged(CARD, text) == text


def test_line_ends_of_windows_stay(tmp_path):
    text = merged(CARD, MINE.replace("\n", "\r\n"))
    assert "\n" not in text.replace("\r\n", "")
    assert merged(CARD, text) == text
    assert loaded(text, tmp_path).data["license"] == "apache-2.0"


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda text: text.replace(END, ""), "it has 1 and 0"),
        (lambda text: text.replace(BEGIN, ""), "it has 0 and 1"),
        (lambda text: text + f"\n{BEGIN}\n{END}\n", "it has 2 and 2"),
        (lambda text: text.replace(BEGIN, "?").replace(END, BEGIN).replace("?", END), "one after it that ends it"),
        (lambda text: text.replace("library_name: peft", "library_name: [peft"), "no YAML mapping"),
        (lambda text: "---\n- a list\n---\n", "no YAML mapping"),
    ],
)
def test_what_cannot_be_merged_is_told_and_left_alone(harm, told):
    with pytest.raises(DataError, match=told):
        merged(CARD, harm(merged(CARD)))


def test_metadata_that_are_the_cards_go_when_they_are_no_longer_true():
    without = Card({name: value for name, value in CARD.metadata.items() if name != "teacher"}, "", "body")
    assert "teacher" not in yaml.safe_load(merged(without, merged(CARD)).split("---\n")[1])
