"""How the files beside this one were made: the texts and the counts of three classes, a text a row.

    python studies/ratings/counts.py human-ratings-tweets.csv human-ratings-nytEditorialSnippets.csv

Nothing is chosen but columns. A text that stands in the source twice, rated by other people each time, becomes one row, with the
raters of both.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from pathlib import Path

from uqkd.data import load_ratings

NAMES = {"human-ratings-tweets": "tweets", "human-ratings-nytEditorialSnippets": "editorials"}


def main(sources: Iterable[Path], out: Path) -> None:
    """Write `tweets.csv` and `editorials.csv`."""
    for source in sources:
        rated = load_ratings(source, repeated="merge")
        with (out / f"{NAMES[source.stem]}.csv").open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(["text", *(f"n_{name}" for name in rated.classes)])
            lines.writerows([text, *row] for text, row in zip(rated.texts, rated.counts.tolist(), strict=True))


if __name__ == "__main__":
    main(map(Path, sys.argv[1:]), Path(__file__).parent)
