"""Ratings by several people from a file: a column of counts per class, or a row per rating."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.data.ratings.dataset import RatedTexts, rated_texts
from uqkd.data.tabular.loading import local_path, normalise_name
from uqkd.data.texts.files import read_text_file
from uqkd.errors import DataError, OptionError, nearest, one_of

COUNT = "n_"  # what columns of counts begin with where they are not named
ALL = "n_raters"  # no class: the sum of the others, which it must be
REPEATED = ("refuse", "merge")
LARGEST = 2**31  # raters of a text; a larger number is no count of people


def load_ratings(
    path: str | Path,
    *,
    text: str = "text",
    counts: Sequence[str] = (),
    rating: str | None = None,
    rater: str | None = None,
    classes: Sequence[str] = (),
    repeated: str = "refuse",
) -> RatedTexts:
    r"""Load texts and what several people said of each, from a `.csv`, `.parquet` or `.jsonl` file.

    Parameters
    ----------
    path : str or Path
    text : str
        Column of the texts.
    counts : sequence of str
        Columns that count the raters of a text in each class, a row a text. If neither they nor `rating` are given: all columns
        that begin with "n_" ("n_raters", if it is there, must be their sum). Classes are named as the columns, without "n_".
    rating, rater : str, optional
        Instead of counts, for a file with a row for every rating: column of the class that was chosen, and of who chose it (one
        person once a text).
    classes : sequence of str
        With `rating`: the classes in their order, of which every rating must be one; those that occur, sorted, if not given.
    repeated : {"refuse", "merge"}
        A text in two rows of counts: an error, or the sum of both, as of one text that was rated by more people.

    Returns
    -------
    RatedTexts
        `.facts` says what was read.

    Raises
    ------
    DataError
        A missing or unreadable file, a missing column, an empty text, a count that is negative or no whole number, fewer than
        two raters of a text, a repeated text, a rating outside the classes: one line that names the row.
    OptionError
        Neither counts nor ratings, or both; fewer than two classes.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.csv").write_text('text,n_bad,n_good\n"Well, well",3,1\nYes!,0,5\n')
    ...     found = load_ratings(f"{folder}/a.csv")
    >>> found.texts[0], found.classes, found.counts.tolist(), found.raters
    ('Well, well', ('bad', 'good'), [[3, 1], [0, 5]], array([4, 5]))
    """
    one_of("repeated", repeated, REPEATED)
    name = normalise_name(path)
    frame = read_text_file(local_path(name) or Path(name))
    if rating is not None and counts:
        raise OptionError(f"data {name}: give either counts (a row a text) or rating (a row a rating), not both.")
    if classes and rating is None:
        raise OptionError(f"data {name}: classes go with rating; columns of counts are classes by themselves.")
    _need(frame, [text, *counts, *(column for column in (rating, rater) if column is not None)], name)
    if len(frame) == 0:
        raise DataError(f"data {name} has no rows; bring some.")
    for row, value in enumerate(frame[text], start=1):
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"column {text!r} of data {name} holds an empty text in row {row}; clean the column.")
    if rating is not None:
        texts, names, table = _of_ratings(frame, name, text=text, rating=rating, rater=rater, classes=classes)
    else:
        texts, names, table = _of_counts(frame, name, text=text, columns=tuple(counts), repeated=repeated)
    if len(names) < 2:
        raise OptionError(f"data {name} needs at least two classes; got {list(names)}.")
    _check_raters(table, texts, name)
    return rated_texts(name, texts, table, names)


def _need(frame: Any, columns: Iterable[str], name: str) -> None:
    there = [str(column) for column in frame.columns]
    for column in columns:
        if column not in there:
            raise DataError(f"data {name} has no column {column!r}; {nearest(column, there)}.")


def _of_counts(
    frame: Any, name: str, *, text: str, columns: tuple[str, ...], repeated: str
) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Texts, classes and counts (N, C) of a file with a row a text."""
    chosen = columns or tuple(c for c in frame.columns if c.startswith(COUNT) and c not in (ALL, text))
    if not chosen:
        raise OptionError(
            f"data {name} has no columns that begin with {COUNT!r}: say which ones count raters with counts=, or which one holds "
            f"a rating with rating=; it has {list(frame.columns)}."
        )
    table = np.stack([_whole(frame[column], column, name) for column in chosen], axis=1)
    if not columns and ALL in frame.columns:
        said = _whole(frame[ALL], ALL, name)
        if (off := said != table.sum(axis=1)).any():
            row = int(off.argmax())
            raise DataError(
                f"data {name}: {ALL!r} is {said[row]} in row {row + 1}, and the counts of {', '.join(chosen)} add up to "
                f"{table[row].sum()}. A class is missing, or name the columns with counts=."
            )
    texts = list(frame[text])
    first = {value: row for row, value in reversed(list(enumerate(texts)))}
    if len(first) < len(texts):
        if repeated == "refuse":
            row = next(row for row, value in enumerate(texts) if first[value] != row)
            raise DataError(
                f"data {name} holds the text of row {first[texts[row]] + 1} again in row {row + 1} ({texts[row]!r:.40}; "
                f'{len(texts) - len(first)} such rows): drop it, or add up the raters of equal texts with repeated="merge".'
            )
        places = {value: place for place, value in enumerate(dict.fromkeys(texts))}
        merged = np.zeros((len(places), len(chosen)), dtype=np.int64)
        np.add.at(merged, [places[value] for value in texts], table)
        texts, table = list(places), merged
    return texts, [column.removeprefix(COUNT) for column in chosen], table


def _of_ratings(
    frame: Any, name: str, *, text: str, rating: str, rater: str | None, classes: Sequence[str]
) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Texts, classes and counts (N, C) of a file with a row a rating."""
    said = ["" if value is None or value != value else str(value).strip() for value in frame[rating]]
    if "" in said:
        raise DataError(f"column {rating!r} of data {name} holds no rating in row {said.index('') + 1}; drop the row.")
    names = [str(one) for one in classes] or sorted(set(said))
    outside = next((row for row, one in enumerate(said) if one not in names), None)
    if outside is not None:
        raise DataError(
            f"column {rating!r} of data {name} holds {said[outside]!r:.40} in row {outside + 1}, which is none of the classes; "
            f"{nearest(said[outside], names)}."
        )
    if rater is not None:
        seen: dict[tuple[str, str], int] = {}
        for row, pair in enumerate(zip(frame[text], map(str, frame[rater]), strict=True), start=1):
            if pair in seen:
                raise DataError(
                    f"data {name}: rater {pair[1]!r:.40} rated the text of row {seen[pair]} again in row {row}; keep one rating."
                )
            seen[pair] = row
    texts = list(dict.fromkeys(frame[text]))
    places, columns = ({value: place for place, value in enumerate(group)} for group in (texts, names))
    table = np.zeros((len(texts), len(names)), dtype=np.int64)
    np.add.at(table, ([places[value] for value in frame[text]], [columns[one] for one in said]), 1)
    return texts, names, table


def _whole(column: Any, title: str, name: str) -> NDArray[np.int64]:
    """A column of counts, (N,)."""
    found = np.empty(len(column), dtype=np.int64)
    for row, value in enumerate(column):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = np.nan
        if not 0 <= number < LARGEST or number != int(number):
            raise DataError(
                f"column {title!r} of data {name} holds {value!r:.40} in row {row + 1}; a count of raters is a whole number from 0."
            )
        found[row] = int(number)
    return found


def _check_raters(table: NDArray[np.int64], texts: Sequence[str], name: str) -> None:
    raters = table.sum(axis=1)
    if (few := raters < 2).any():
        row, rows = int(few.argmax()), int(few.sum())
        raise DataError(
            f"data {name}: text {row + 1} ({texts[row]!r:.40}) has {raters[row]} raters ({rows} of {len(texts)} have fewer than "
            "two); two are needed to tell agreement from chance. Drop it."
        )
