"""`uqkd list`: the studies that are here."""

from __future__ import annotations

from uqkd.cli.app import app
from uqkd.errors import LibraryError


@app.command("list")
def list_studies() -> None:
    """List the studies in ./studies: their questions and options."""
    from uqkd.run import load_study, study_names

    for name in study_names():
        try:
            loaded = load_study(name)
        except LibraryError as problem:
            print(f"{name}: {problem}")
            continue
        print(f"{loaded.name}: {loaded.question}")
        print(f"    {', '.join(f'{key}={value}' for key, value in loaded.options().model_dump(mode='json').items())}")
