"""CSV files that are safe to open in a spreadsheet: text from outside is never taken for a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

# What makes spreadsheets read a cell as a formula, at its beginning or behind the apostrophes of an earlier escape.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def write_csv(file: IO[str], head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table; each text that a spreadsheet would run begins with an apostrophe.

    Args:
        file: Opened for text, with ``newline=""``.
        head: Names of the columns.
        rows: Numbers, also written as text, stay numbers.
    """
    writer = csv.writer(file)
    writer.writerow(head)
    writer.writerows([escaped(value) for value in row] for row in rows)


def read_csv(file: IO[str]) -> Iterator[Mapping[str, str]]:
    """Yield the rows of a file of :func:`write_csv` by column, as they were before they were escaped.

    Raises:
        csv.Error, ValueError: If it is no CSV file.
    """
    for row in csv.DictReader(file):
        yield {key: unescaped(value) if isinstance(value, str) else value for key, value in row.items()}


def escaped(value: Any) -> Any:
    """Return a cell's value with an apostrophe before it if it is text that a spreadsheet would take for a formula."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) and not _is_number(value) else value


def unescaped(text: str) -> str:
    """Return the text that :func:`escaped` made a cell of."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
