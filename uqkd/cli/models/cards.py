"""What `uqkd distill` and `uqkd measure` write for those who get a student without its folder: the facts, and a card each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from uqkd.cli.models.sample import note
from uqkd.errors import UqkdError


def words_of(context: typer.Context) -> list[str]:
    """The command that runs, with what was given and is not the default."""
    found = [str(context.info_name)]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if value is None or value == [] or value == parameter.get_default(context):
            continue
        name, *_ = parameter.opts
        if isinstance(value, bool):
            found.append(name if value else parameter.secondary_opts[0])
        else:
            every = value if isinstance(value, list | tuple) else [value]
            found += [word for one in every for word in (name, str(one))]
    return found


def write_cards(
    root: str, *, trained: Mapping[str, Any] | None = None, measured: Mapping[str, Any] | None = None
) -> int:
    """Keep new facts of a folder of students and write every student's card; how many were written.

    A folder that cannot be written, or a README that cannot be read, is a note: students and tables are there without it.
    """
    from uqkd.report.card import FACTS, keep_facts, read_facts
    from uqkd.store import mirrored

    try:
        mirror = mirrored(root)
        root = root if mirror is None else str(mirror.root)
        if trained is not None or measured is not None:
            keep_facts(root, trained=trained, measured=measured)
        facts = read_facts(root)
    except UqkdError as problem:
        note(f"no uncertainty card was written: {problem}")
        return 0
    written = [folder for folder in facts.folders if _write_card(Path(root), facts, folder)]
    if mirror is not None:
        kept = [FACTS] if (mirror.root / FACTS).is_file() else []
        mirror.push_files([*kept, *(f"{folder}/README.md" for folder in written)])
    return len(written)


def _write_card(root: Path, facts: Any, folder: str) -> bool:
    from uqkd.report.card import card_of, merged
    from uqkd.store import Store, is_untouched

    place = root / folder / "README.md"
    try:
        made_by_peft = is_untouched(root / folder, place.name)  # a form to fill in, saved with an adapter
        old = place.read_bytes().decode("utf-8-sig") if place.is_file() and not made_by_peft else ""
        new = merged(card_of(facts, folder), old)
        if new != old:
            Store(root, create=False).write_bytes(f"{folder}/{place.name}", new.encode(), recorded=False)
    except (UqkdError, OSError, UnicodeDecodeError) as problem:
        note(f"the uncertainty card of {folder} was not written: {problem}")
        return False
    return True
