"""Text of results as LaTeX: symbols, subscripts and what LaTeX would read as a command."""

from __future__ import annotations

import re

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"$|$", "<": r"$<$", ">": r"$>$", '"': "''",
}  # fmt: skip
SYMBOLS = {
    "α": r"\alpha", "β": r"\beta", "ε": r"\varepsilon", "κ": r"\kappa", "λ": r"\lambda", "μ": r"\mu", "ρ": r"\rho",
    "σ": r"\sigma", "τ": r"\tau", "χ": r"\chi", "Σ": r"\sum", "Δ": r"\Delta", "−": "-", "±": r"\pm", "×": r"\times",
    "≤": r"\leq", "≥": r"\geq", "≈": r"\approx", "→": r"\to", "∞": r"\infty", "·": r"\cdot", "‖": r"\Vert", "√": r"\surd",
    "∝": r"\propto", "∈": r"\in", "⁻": "^{-}", "⁰": "^{0}", "¹": "^{1}", "²": "^{2}", "³": "^{3}", "ᵀ": r"^{\top}",
    "₀": "_{0}", "₁": "_{1}", "₂": "_{2}", "½": r"\tfrac{1}{2}",
}  # fmt: skip
PLAIN = {"–": "--", "—": "---", "…": r"\ldots{}", "’": "'", "‘": "`", "“": "``", "”": "''", "\u00a0": "~", "ʼ": "'"}
ACCENTED = "äöüßéèêçñáíóúÄÖÜ"  # inputenc knows them
_TOKEN = re.compile(r"(?P<sub>[A-Za-zσα](?:_[A-Za-z]+)(?:[²³])?)(?![A-Za-z_])|(?P<one>.)", re.DOTALL)


def tex(text: str) -> str:
    """LaTeX of a plain text.

    Symbols that it does not know are an error: a paper must not lose a sign.

    Examples
    --------
    >>> tex("σ_T² falls by 20 %: κ ≤ 1"), tex("G_p of a_file_name")
    ('$\\\\sigma_{T}^{2}$ falls by 20\\\\,\\\\%: $\\\\kappa$ $\\\\leq$ 1', '$G_{p}$ of a\\\\_file\\\\_name')
    """
    made = []
    for match in _TOKEN.finditer(text):
        name = match["sub"]
        if name and len(name.rstrip("²³").split("_")[1]) <= 4 and _alone(text, match.start()):
            made.append(_subscript(name))
        else:
            made += [_one(character) for character in (name or match["one"])]
    return re.sub(r"(?<=[\d}]) \\%", r"\\,\\%", "".join(made)).replace("$$", "")


def _alone(text: str, start: int) -> bool:
    return start == 0 or not (text[start - 1].isalnum() or text[start - 1] == "_")


def _subscript(name: str) -> str:
    letter, below = name.rstrip("²³").split("_")
    power = {"²": "^{2}", "³": "^{3}"}.get(name[-1], "")
    return f"${SYMBOLS.get(letter, letter)}_{{{below}}}{power}$"


def _one(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    if character in SYMBOLS:
        return f"${SYMBOLS[character]}$"
    if character in PLAIN:
        return PLAIN[character]
    if character.isascii() or character in ACCENTED:
        return character
    raise ValueError(f"no LaTeX is known for {character!r} (U+{ord(character):04X}); add it to paper/tex.py.")
