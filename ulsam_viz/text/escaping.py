"""Text from outside, written so that it is read as text: class names, file names, addresses, manifests, tables.

Streamlit reads labels, captions, help texts and messages as Markdown, and Plotly reads a little HTML: a class that is
called ``![](https://host/x.png)`` would make every visitor's browser fetch that address.
"""

from __future__ import annotations

import html
import re

_JOINER = "\u2060"  # WORD JOINER: has no width, and allows no line break
# What CommonMark, its tables of links, strike-through and formulas begin with. Inside of a word "_" means nothing.
_SIGNS = re.compile(r"[\\`*\[\]<>&$~|{}#]|(?<![^\W_])_|_(?![^\W_])")
_FIRST = re.compile(r"^([-+=]|\d+(?=[.)]))")  # a list, or the line below a heading, where the text begins a line
# Streamlit looks for these after backslashes are gone, so only a character in between keeps them apart: addresses,
# ":smile:", ":material/home:" and ":red", arrows such as "->".
_SHORTHAND = re.compile(
    r"(?<=http)(?=s?:)|(?<=www)(?=\.)|(?=@)|(?<=:)(?=[^\W\d]|[\w+-]+:)|(?<=[-<>~])(?=[-=>])", flags=re.IGNORECASE
)


def escape_markdown(text: str) -> str:
    """Write text so that Markdown, as Streamlit reads it, shows it letter by letter.

    White space becomes single spaces.
    """
    apart = _SHORTHAND.sub(_JOINER, re.sub(r"\s+", " ", text))
    return _FIRST.sub(r"\1\\" if apart[:1].isdigit() else r"\\\1", _SIGNS.sub(r"\\\g<0>", apart))


def markdown_code(text: str) -> str:
    """Write text as a code span of Markdown, whatever backticks are in it."""
    text = re.sub(r"\s+", " ", text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def markdown_to_html(text: str) -> str:
    """Return our sentences' Markdown as HTML: ``*emphasis*``, ``**strong**``, :func:`escape_markdown`'s escapes."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(html.escape(match[1]))
        return f"\0{len(kept) - 1}\0"

    safe = html.escape(re.sub(r"\\(.)", keep, text.replace("\0", "").replace(_JOINER, "")))
    marked = re.sub(r"\*(.+?)\*", r"<em>\1</em>", re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", safe))
    return re.sub(r"\0(\d+)\0", lambda match: kept[int(match[1])], marked)


def escape_plotly(text: str) -> str:
    """Write text so that Plotly shows it letter by letter, in labels and in its templates."""
    return html.escape(text, quote=False).replace("%{", "%&#123;")
