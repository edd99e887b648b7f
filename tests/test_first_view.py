"""What is on the screen before torch is there, is what the network computes and what the page then draws."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from assets.make_first_view import VARIANT, compute_first_view
from tests.browser import ROOT
from tests.components import mounted
from tests.patience import PATIENCE
from ulsam_viz.ui import first_view as first
from ulsam_viz.ui.first_view import FirstView, opens_on_it, read_first_view
from ulsam_viz.zoo.variants import get_variant


@pytest.fixture(scope="module")
def view() -> FirstView:
    return read_first_view()


def test_the_shipped_network_computes_it(view: FirstView) -> None:
    now = compute_first_view()
    assert view.maps.shape == now.maps.shape == (4, 14, 14)
    np.testing.assert_allclose(view.maps, now.maps, atol=2e-4)  # uniform is 5e-3
    assert [a.name for a in view.answers] == [a.name for a in now.answers]
    assert [a.share for a in view.answers] == pytest.approx([a.share for a in now.answers], abs=5e-3)
    assert view.preprocessing == now.preprocessing == get_variant(VARIANT).preprocessing
    assert (view.picture, view.network, view.about, view.layer, view.channels) == (
        now.picture,
        now.network,
        now.about,
        now.layer,
        now.channels,
    )


def _first() -> None:
    from ulsam_viz.ui.first_view import show_first_view

    show_first_view()


def test_the_page_draws_the_same_over_it() -> None:
    drawn = AppTest.from_function(_first, default_timeout=PATIENCE).run()
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE).run()
    assert not drawn.exception and not page.exception
    (strip,), (same_strip,) = mounted(drawn, "strip"), mounted(page, "strip")
    for name in ("title", "picture", "network", "about"):
        assert strip[name] == same_strip[name]
    assert [a["name"] for a in strip["answers"]] == [a["name"] for a in same_strip["answers"]]
    (row,) = mounted(drawn, "tiles")
    (same_row,) = [r for r in mounted(page, "tiles") if any(t["role"] == "map" for t in r["tiles"])]

    def still(row: dict[str, Any]) -> dict[str, Any]:
        """Leave out what rounding moves, and the crop, which each run sends once."""
        tiles = [{k: v for k, v in tile.items() if k not in ("drawing", "note", "alt")} for tile in row["tiles"]]
        return {k: v for k, v in row.items() if k not in ("pictures", "tiles")} | {"tiles": tiles}

    assert still(row) == still(same_row)
    assert [t["drawing"]["picture"] for t in row["tiles"]] == [t["drawing"]["picture"] for t in same_row["tiles"]]


def test_another_zoo_or_a_missing_base_opens_on_something_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert opens_on_it()
    assert first._BASE in {d.name for d in importlib.metadata.distributions()}
    monkeypatch.setenv("ULSAM_VIZ_CHECKPOINTS", str(tmp_path))
    assert not opens_on_it()
    monkeypatch.delenv("ULSAM_VIZ_CHECKPOINTS")
    monkeypatch.setattr(first, "_BASE", "a-package-that-is-not-there")
    assert not opens_on_it()


def test_it_needs_no_torch() -> None:
    look = "import sys, ulsam_viz.ui.first_view; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", look], check=True, timeout=PATIENCE)
