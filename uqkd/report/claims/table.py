"""The table of claims: written after a run, and held against a README's between `<!-- claims -->` and `<!-- /claims -->`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from uqkd.report.answers import readme
from uqkd.report.claims.published import CLAIMS
from uqkd.report.claims.rule import Claim, Found
from uqkd.store import Store

FILE = "tables/claims.csv"
COLUMNS = ("claim", "source", "result", "study", "verdict")
_BLOCK = re.compile(r"(?<=<!-- claims -->\n).*?(?=<!-- /claims -->)", re.DOTALL)
_CELL = re.compile(r"(?<!\\)\|")


def judged(found: Found, claims: Sequence[Claim] = CLAIMS) -> list[dict[str, str]]:
    """One row for each claim: what it says, who says so, what the study found, and the verdict.

    Examples
    --------
    >>> judged({}, [Claim("all is well", "someone", "study")])
    [{'claim': 'all is well', 'source': 'someone', 'result': '', 'study': 'study', 'verdict': 'not run'}]
    """
    rows = []
    for claim in claims:
        answer = claim.answer(found)
        values = (claim.text, claim.source, answer.text if answer else "", claim.study, claim.verdict(found))
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def write(store: Store) -> str:
    """Judge all claims by the answers of a store, and write the table there; returns its path.

    Examples
    --------
    >>> write(Store("memory://claims_of_nothing"))
    'tables/claims.csv'
    """
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(judged(readme.answers(store)))
    store.write_bytes(FILE, text.getvalue().encode())
    return FILE


def written(text: str, found: Found, claims: Sequence[Claim] = CLAIMS) -> str:
    """A README with the verdicts of a run between its marks; without marks as it is.

    Examples
    --------
    >>> print(written("<!-- claims -->\\n<!-- /claims -->", {}, [Claim("all is well", "someone", "study")]))
    <!-- claims -->
    | claim | source | found | study | verdict |
    |---|---|---|---|---|
    | all is well | someone |  | `study` | *not run* |
    <!-- /claims -->
    """
    lines = ["| claim | source | found | study | verdict |", "|---|---|---|---|---|"]
    for row in judged(found, claims):
        study = f"`{row['study']}`" if row["study"] else "–"
        cells = (row["claim"], row["source"], row["result"], study, f"*{row['verdict']}*")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return _BLOCK.sub(lambda _: "\n".join([*lines, ""]), text)


def differences(text: str, found: Found, claims: Sequence[Claim] = CLAIMS) -> list[str]:
    """Where a README's table of claims says what a run does not; one line each, none without marks.

    Examples
    --------
    >>> said = "<!-- claims -->\\n|a|b|c|d|e|\\n|---|\\n| all is well | someone | | `study` | *confirmed* |\\n<!-- /claims -->"
    >>> differences(said, {}, [Claim("all is well", "someone", "study")])
    ['claim "all is well" (study): *confirmed* is said, *not run* is found']
    """
    block = _BLOCK.search(text)
    if block is None:
        return []
    lines = [_CELL.split(line)[1:-1] for line in block.group().splitlines()[2:]]
    rows = [[cell.strip().replace("\\|", "|") for cell in cells] for cells in lines]
    said = {(row[0], row[3].strip("`–")): row for row in rows if len(row) == len(COLUMNS)}
    wrong, far = [], readme.widening(found)
    for claim in claims:
        about, row = f'claim "{claim.text}" ({claim.study or "no study"})', said.pop((claim.text, claim.study), None)
        if row is None:
            wrong.append(f"{about}: it has no row")
            continue
        if (verdict := f"*{claim.verdict(found)}*") != row[4]:
            wrong.append(f"{about}: {row[4]} is said, {verdict} is found")
        answer = claim.answer(found)
        if answer is not None:
            wrong += [f"{about}: {one}" for one in answer.differences(row[2], widened=far)]
    return wrong + [f'claim "{text}" ({study}): it has a row, but is not among the claims' for text, study in said]
