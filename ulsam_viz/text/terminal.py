"""What a terminal or pipe of any encoding can show: characters that it lacks are written in letters that it has."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

_HANDLER = "ulsam_viz.readable"
#: Characters that neither Unicode's decomposition nor their name spells in ASCII.
_SPELLED = {
    "×": "x",
    "·": ".",
    "±": "+/-",
    "−": "-",
    "–": "-",
    "—": "-",
    "→": "->",
    "←": "<-",
    "▶": ">",
    "◀": "<",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "√": "sqrt",
    "∞": "inf",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "•": "*",
    "°": " deg",
    "ß": "ss",
    "æ": "ae",
    "Æ": "AE",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "©": "(c)",
}


def write_readably() -> None:
    """Let stdout and stderr of this process replace characters that their encoding lacks, instead of raising.

    ``ρ`` becomes ``rho``, ``×`` becomes ``x``, ``é`` becomes ``e``, and what has no such spelling an escape as in
    ``\\u4e2d``. A stream that is no text file of Python's (a notebook's) stays as it is.
    """
    codecs.register_error(_HANDLER, _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _readable(error: UnicodeError) -> tuple[str, int]:
    """Spell what could not be encoded; the error handler that :mod:`codecs` calls."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    # Names of files whose bytes were not in the file system's encoding; most are UTF-8.
    whole = text.encode("utf-8", "surrogateescape" if all("\udc80" <= c <= "\udcff" for c in text) else "surrogatepass")
    return "".join(map(spelled, whole.decode("utf-8", "backslashreplace"))), error.end


def spelled(character: str) -> str:
    """Write a character in ASCII."""
    if character.isascii() or character in _SPELLED:
        return _SPELLED.get(character, character)
    name = unicodedata.name(character, "")
    if name.startswith("GREEK SMALL LETTER ") or name.startswith("GREEK CAPITAL LETTER "):
        letter = name.split()[3]
        return letter.lower() if "SMALL" in name else letter.capitalize()
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or character.encode("ascii", "backslashreplace").decode()
