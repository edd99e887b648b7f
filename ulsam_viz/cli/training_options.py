"""Make options of the command line from the fields of settings records.

Name, type, choices, default and help exist once, in the record.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..training.mixture import Source, parse_source
from ..training.recipe import Stages, parse_stages, stages_text

#: Second spellings, of settings whose name in records is longer than what one likes to type.
_ALSO = {"peak_lr": "--lr", "sources": "--mixture"}
#: What has a notation of its own: how it is read, and how help names it.
_NOTATIONS: dict[Any, tuple[Callable[[str], Any], str]] = {
    Stages: (parse_stages, "EPOCHSxSIDE[,...]"),
    Source: (parse_source, "FOLDER:DATASET:TARGETS[:COPIES]"),
}
_METAVARS: dict[Any, str] = {int: "N", float: "X", str: "TEXT"}


@dataclass(frozen=True)
class Setting:
    """One field of a record, as an option.

    Attributes:
        name: Of the field.
        hint: Its type, without None.
        default: The record's; None where it has none.
        choices: What it may be, or nothing: anything of its type.
        text: What it is, from the record's docstring.
        record: The class that it is a field of.
    """

    name: str
    hint: Any
    default: Any
    choices: tuple[str, ...]
    text: str
    record: type

    @property
    def flags(self) -> list[str]:
        """How it is spelled."""
        return [f"--{self.name.replace('_', '-')}", *([_ALSO[self.name]] if self.name in _ALSO else [])]

    @property
    def said_default(self) -> str:
        """The default as one would type it; nothing where there is none to type."""
        if self.hint == Stages:
            return stages_text(self.default)
        if isinstance(self.default, tuple):
            return " ".join(map(str, self.default))
        return "" if self.default is None or self.hint is bool else str(self.default)


def settings_of(record: type) -> list[Setting]:
    """Return a record's settings; a record inside it (``Placement | None``) gives its own.

    The first setting of an optional record has no default: giving it creates the record. Fields that are no options are
    marked ``metadata={"option": False}``.
    """
    hints, texts, found = get_type_hints(record), _texts(record), []
    for f in (f for f in fields(record) if f.metadata.get("option", True)):
        hint = _without_none(hints[f.name])
        if is_dataclass(hint) and isinstance(hint, type) and hint not in _NOTATIONS:
            first, *rest = settings_of(hint)
            found += [Setting(first.name, first.hint, None, first.choices, first.text, first.record), *rest]
            continue
        choices = get_args(hint) if get_origin(hint) is Literal else tuple(f.metadata.get("choices", ()))
        default = None if f.default is MISSING else f.default
        found.append(Setting(f.name, hint, default, choices, texts.get(f.name, ""), record))
    return found


def add_settings(parser: argparse.ArgumentParser, title: str, records: Mapping[type, str]) -> None:
    """Add an option for every setting of records.

    Nothing is put where an option was not typed: the record's default holds, and what was typed can be told.

    Args:
        parser: Of a command.
        title: Of the options in its help.
        records: The records, and what brings each in ("" for what is always there), to be said with its own defaults.
    """
    of_name: dict[str, list[tuple[Setting, str]]] = {}
    for record, when in records.items():
        for setting in settings_of(record):
            of_name.setdefault(setting.name, []).append((setting, when))
    group = parser.add_argument_group(title)
    for several in of_name.values():
        group.add_argument(*several[0][0].flags, default=argparse.SUPPRESS, help=_help(several), **_kind(several[0][0]))


def typed(options: argparse.Namespace, *records: type) -> dict[str, Setting]:
    """Return the settings of records that were typed, by name."""
    return {s.name: s for record in records for s in settings_of(record) if s.name in options}


def chosen(options: argparse.Namespace, record: type) -> dict[str, Any]:
    """Return what was typed of a record's own fields, as its arguments; a record inside it is asked for by itself.

    Raises:
        ValueError: For a notation that cannot be read; the message has an example.
    """
    return {
        s.name: _read(s.hint, getattr(options, s.name)) for s in typed(options, record).values() if s.record is record
    }


def _read(hint: Any, value: Any) -> Any:
    if hint in _NOTATIONS:
        return _NOTATIONS[hint][0](value)
    if get_origin(hint) is tuple:
        return tuple(_read(get_args(hint)[0], part) for part in value)
    return value


def _kind(setting: Setting) -> dict[str, Any]:
    """Return what argparse has to know of a setting's type.

    Raises:
        TypeError: For a type that no option is known for: give it a notation.
    """
    hint = setting.hint
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if setting.choices:
        return {"choices": setting.choices}
    if hint in _NOTATIONS:
        return {"metavar": _NOTATIONS[hint][1]}
    if get_origin(hint) is tuple and get_args(hint)[1:] == (...,):
        part = get_args(hint)[0]
        if part in _NOTATIONS:
            return {"nargs": "+", "metavar": _NOTATIONS[part][1]}
        hint, several = part, {"nargs": "+"}
    else:
        several = {}
    if hint not in _METAVARS:
        raise TypeError(f"no option is known for '{setting.name}', a {setting.hint}")
    return {**several, "type": hint, "metavar": _METAVARS[hint]}


def _help(several: list[tuple[Setting, str]]) -> str:
    """Say what a setting is, when it is there, and its default in each record."""
    first, when = several[0]
    text = f"{when}: {first.text}" if when else first.text
    defaults = [f"{s.said_default} {w}".strip() for s, w in several if s.said_default]
    if len({s.said_default for s, _ in several}) == 1:
        defaults = [first.said_default] if first.said_default else []
    return (f"{text} (default: {'; '.join(defaults)})" if defaults else text).replace("%", "%%")


def _without_none(hint: Any) -> Any:
    parts = [part for part in get_args(hint) if part is not NoneType]
    return parts[0] if NoneType in get_args(hint) and len(parts) == 1 else hint


def _texts(record: type) -> dict[str, str]:
    """Read what each field is from ``Attributes:`` (or ``Args:``) of the docstrings of a record and its bases, without
    marks.
    """
    found: dict[str, str] = {}
    for part in reversed(record.__mro__):
        section = re.search(
            r"^(?:Attributes|Args):\n(.*?)(?:^\S|\Z)", inspect.cleandoc(part.__doc__ or ""), re.M | re.S
        )
        entries = re.findall(r"^    (\w[\w, ]*): (.*?)(?=^    \S|\Z)", section[1] if section else "", re.M | re.S)
        found |= {name: _plain(text) for names, text in entries for name in names.split(", ")}
    return found


def _plain(text: str) -> str:
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text).replace("``", "")
    text = " ".join(text.split()).removesuffix(".")
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]  # "ULSAM ..." stays
