"""`python -m uqkd.theory.coverage [kind ...] [--experiments N] [--out docs] [--page]`: tables of what intervals cover."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from uqkd.errors import UqkdError
from uqkd.theory.coverage import kind, kinds
from uqkd.theory.coverage.tables import write_page, write_table


def main(words: list[str] | None = None) -> int:
    """Make the tables of the kinds asked for, or of all, and the page of all that lie there; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m uqkd.theory.coverage", description=__doc__)
    parser.add_argument("kind", nargs="*", help="kinds of intervals; all of them where none is named")
    parser.add_argument("--experiments", type=int, help="experiments a cell; each kind has its own number otherwise")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the page; default: docs")
    parser.add_argument(
        "--page", action="store_true", help="simulate nothing: the page alone, from the tables that lie there"
    )
    asked = parser.parse_args(words)
    try:
        for name in [] if asked.page else [kind(name).__name__.rsplit(".", 1)[1] for name in asked.kind] or kinds():
            print(f"{name}: simulating", flush=True)
            rows = kind(name).rows(asked.experiments)
            print(f"{name}: {len(rows)} cells in {write_table(rows, asked.out / 'coverage', name)}", flush=True)
        print(f"page: {write_page(asked.out)}")
    except UqkdError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
