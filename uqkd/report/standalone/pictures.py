"""Figures as data inside a page, made as small as there is room for."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

_WIDTHS = (1200, 1000, 850, 700, 560, 440, 340)  # pixels, the sharpest that fits is taken
_COLOURS = 64  # of a figure's palette: lines, bands and letters need no more


@dataclass(frozen=True)
class Picture:
    """A picture for a page.

    Attributes
    ----------
    uri : str
        "data:image/png;base64,…".
    width, height : int
        Pixels.
    """

    uri: str
    width: int
    height: int


def pictures(files: Mapping[str, bytes], *, room: int) -> dict[str, Picture]:
    """All pictures at the greatest width at which they fit together; the smallest where none does.

    Parameters
    ----------
    files : mapping of str to bytes
        PNG.
    room : int
        Bytes of all URIs together.

    Examples
    --------
    >>> from PIL import Image
    >>> buffer = io.BytesIO()
    >>> Image.new("RGB", (1600, 800)).save(buffer, format="PNG")
    >>> one = pictures({"a": buffer.getvalue()}, room=10_000)["a"]
    >>> one.width, one.height, one.uri[:22]
    (1200, 600, 'data:image/png;base64,')
    """
    found: dict[str, Picture] = {}
    for width in _WIDTHS:
        found = {name: _scaled(data, width) for name, data in files.items()}
        if sum(len(one.uri) for one in found.values()) <= room:
            break
    return found


def _scaled(data: bytes, width: int) -> Picture:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as read:
        whole = Image.new("RGB", read.size, "white")
        whole.paste(read, mask=read.convert("RGBA").getchannel("A"))
    height = max(1, round(whole.height * width / whole.width))
    if width < whole.width:
        whole = whole.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    whole.quantize(_COLOURS, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    uri = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Picture(uri, whole.width, whole.height)
