"""The table of claims: what papers say, what the studies found, and the verdict."""

from __future__ import annotations

import re
from dataclasses import dataclass

from uqkd.report.page.tables import read_texts
from uqkd.store import Store

PATH = "tables/claims.csv"
VERDICTS = ("confirmed", "bounded", "refuted", "undecided")


@dataclass(frozen=True)
class Claim:
    """A claim, where it comes from, and what became of it; columns that the table lacks are empty."""

    claim: str = ""
    source: str = ""
    result: str = ""
    study: str = ""
    verdict: str = ""

    @property
    def studies(self) -> list[str]:
        """Names of the studies, of which there may be several with commas between them."""
        return [name for name in re.split(r"\s*[,;]\s*", self.study.strip()) if name]

    @property
    def kind(self) -> str:
        """The verdict's first word, if it is one of `VERDICTS`."""
        word = self.verdict.strip().lower().split(" ")[0].strip(",.;:")
        return word if word in VERDICTS else ""


def claims(store: Store) -> list[Claim]:
    """Every claim in the results' table of claims, whole; none where there is no such table."""
    if PATH.split("/")[1] not in store.folder.names("tables"):
        return []
    columns = Claim.__dataclass_fields__
    rows = read_texts(store.folder.read(PATH)).to_dict("records")
    return [Claim(**{str(name): text for name, text in row.items() if name in columns}) for row in rows]
