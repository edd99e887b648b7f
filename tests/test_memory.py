"""Memory that was freed goes back to the system, where the system's library can do that."""

from __future__ import annotations

import ctypes
import sys

import pytest

from ulsam_viz.engine import memory


class _Library:
    def __init__(self, *names: str) -> None:
        self.calls: list[tuple[object, ...]] = []
        for name in names:
            setattr(self, name, lambda *values, name=name: self.calls.append((name, *values)))


@pytest.fixture(autouse=True)
def afresh() -> None:
    memory._glibc.cache_clear()


@pytest.mark.parametrize(
    ("system", "names", "asked"),
    [
        ("linux", ("gnu_get_libc_version", "mallopt", "malloc_trim"), [("mallopt", -8, 2), ("malloc_trim", 0)]),
        ("linux", (), []),  # musl
        ("darwin", ("gnu_get_libc_version", "mallopt", "malloc_trim"), []),
    ],
)
def test_only_glibc_is_asked(
    monkeypatch: pytest.MonkeyPatch, system: str, names: tuple[str, ...], asked: list[tuple[object, ...]]
) -> None:
    library = _Library(*names)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    memory.use_few_arenas()
    memory.give_back()
    assert library.calls == asked
    memory._glibc.cache_clear()


def test_this_very_system_is_asked_in_its_own_words() -> None:
    memory.use_few_arenas()
    memory.give_back()
