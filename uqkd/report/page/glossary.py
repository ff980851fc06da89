"""Texts in which the terms that a page explains are links to their explanation."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

from uqkd.report.page.terms import TERMS, Paper, Term

# the longest come first, so that "T10" is not T1, and a term never begins or ends within a word
_ANY = re.compile(
    r"(?<![\w.’'])(?:"
    + "|".join(f"(?P<{t.key}>{t.pattern or re.escape(t.name)})" for t in sorted(TERMS, key=lambda t: -len(t.key)))
    + r")(?![\w’'])"
)
_BY_KEY = {term.key: term for term in TERMS}
_LINK = Markup('<a class="term" href="#term-{0}" aria-describedby="means-{0}"><abbr>{1}</abbr></a>')


class Glossed:
    """The texts of one study: a term is a link where it stands first.

    Examples
    --------
    >>> texts = Glossed()
    >>> print(texts.explain("κ < 1"))
    <a class="term" href="#term-kappa" aria-describedby="means-kappa"><abbr>κ</abbr></a> &lt; 1
    >>> print(texts.explain("κ again"))
    κ again
    >>> [paper.arxiv for paper in texts.papers(["T1"])]
    ['2601.18909']
    """

    def __init__(self) -> None:
        self._seen: dict[str, Term] = {}

    def explain(self, text: str) -> Markup:
        """The text as HTML; all of it but the links is escaped."""
        parts, end = [], 0
        for found in _ANY.finditer(text):
            key = str(found.lastgroup)
            if key not in self._seen:
                self._seen[key] = _BY_KEY[key]
                parts += [escape(text[end : found.start()]), _LINK.format(key, found.group())]
                end = found.end()
        return Markup("").join([*parts, escape(text[end:])])

    def papers(self, also: Iterable[str] = ()) -> list[Paper]:
        """Papers of the terms that were met, and of those with these keys, each once."""
        terms = [*(_BY_KEY[key] for key in also), *self._seen.values()]
        return list(dict.fromkeys(paper for term in terms for paper in term.papers))


def terms_in(text: str) -> list[str]:
    """Keys of the terms that a text names, in the order of the text.

    Examples
    --------
    >>> terms_in("At k = 10 W-Clip leaves G_p; T10, not T1, and (S, P, R)")
    ['k', 'WClip', 'Gp', 'T10', 'T1', 'S', 'P', 'R']
    """
    return list(dict.fromkeys(str(found.lastgroup) for found in _ANY.finditer(text)))
