"""`uqkd list`: the studies that can be run by name."""

from __future__ import annotations

from pathlib import Path

from uqkd.cli.app import STUDIES, app
from uqkd.errors import OptionError


@app.command("list", epilog=STUDIES)
def list_studies() -> None:
    """List studies, in ./studies and with uqkd: their questions, options."""
    from uqkd.run import find_study, study_names

    here: list[str] = []
    bundled: list[str] = []
    for name in study_names():
        (here if find_study(name).parent == Path("studies").resolve() else bundled).append(name)
    for where, names in (("in ./studies", here), ("with uqkd", bundled)):
        if names:
            print(f"{where}:")
        for name in names:
            _print_study(name)


def _print_study(name: str) -> None:
    """Question and options of a study; of one that does not load, why."""
    from uqkd.run import load_study

    try:
        loaded = load_study(name)
    except OptionError as problem:
        print(f"{name}: {problem}")
        return
    print(f"{loaded.name}: {loaded.question}")
    print(f"    {', '.join(f'{key}={value}' for key, value in loaded.options().model_dump(mode='json').items())}")
