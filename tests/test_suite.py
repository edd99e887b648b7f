"""What holds for all tests: no verdict waits for a fixed time, or not long enough."""

from __future__ import annotations

import re
from pathlib import Path

# Polls, each in a loop that ends when a condition holds: one for pages, whose events must go on meanwhile, and one for
# all else.
POLLS = {"browser.py": 1, "patience.py": 1}
WAITS = re.compile(r"wait_for_timeout\(|\bsleep\(")
LIMITS = re.compile(r"(?:timeout=|\.wait\(|\.result\(|\.join\()\d")


def test_no_test_waits_for_a_fixed_time_and_none_loses_patience() -> None:
    """A busy machine needs longer than any time that one measures on an idle one: wait for what must come."""
    waits, limits = {}, {}
    for path in Path(__file__).parent.glob("*.py"):
        if path != Path(__file__):
            waits[path.name] = len(WAITS.findall(path.read_text()))
            limits[path.name] = LIMITS.findall(path.read_text())
    assert {name: number for name, number in waits.items() if number} == POLLS
    assert not {name: found for name, found in limits.items() if found}
