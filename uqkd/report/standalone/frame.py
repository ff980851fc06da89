"""What all reports share: the page around them, and how numbers and shares are put into it."""

from __future__ import annotations

from typing import Any

import jinja2

from uqkd import __version__
from uqkd.estimators import percent

LARGEST = 2_000_000  # bytes of a report


def page(template: str, *, title: str, **content: Any) -> bytes:
    """A report as the bytes of one HTML file.

    Parameters
    ----------
    template : str
        Name of the file in this room, without its endings.
    title : str
    **content
        What the template names. All of it is text: what looks like markup is shown as it is.
    """
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("uqkd", "report/standalone"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pages.filters |= {"shown": shown, "share": share}
    whole = pages.get_template(f"{template}.html.jinja").render(
        title=shown(title), version=__version__, percent=percent(), **content
    )
    return whole.encode("utf-8", "backslashreplace")


def shown(value: Any) -> str:
    r"""A text whose control characters and marks of direction can be seen; line breaks stay.

    Examples
    --------
    >>> print(shown("a\x1b[31m\u202eb"))
    a\x1b[31m\u202eb
    """
    text = str(value)
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def share(count: float, total: float) -> str:
    """Per cent of a total for a bar's length, between 0 and 100.

    Examples
    --------
    >>> share(1, 3), share(0, 0)
    ('33.3%', '0%')
    """
    return f"{100.0 * count / total:.3g}%" if total else "0%"
