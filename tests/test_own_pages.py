"""Every page with a network of the user's own: what is unknown of it is said, and nothing breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.patience import PATIENCE
from tests.test_app import fine, text_of
from tests.test_own import CLASSES, StandAlone, lively, mobilenet_v1, pt, with_modules
from ulsam_viz.images.preprocessing import Preprocessing
from ulsam_viz.zoo.user_networks import add_network


def inspect() -> None:
    from ulsam_viz.ui.inspect import page

    page.show()


def compare() -> None:
    from ulsam_viz.ui.compare import page

    page.show()


def evidence() -> None:
    from ulsam_viz.ui.evidence import page

    page.show()


def learn() -> None:
    from ulsam_viz.ui.learn import page

    page.show()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two networks: with modules, and plain."""
    monkeypatch.setenv("ULSAM_VIZ_OWN", str(tmp_path / "own"))
    for name, after in (("mine", (11,)), ("plain", ())):
        model = lively(StandAlone(with_modules(mobilenet_v1(), after), "model", "fc"))
        (tmp_path / f"{name}.pth").write_bytes(pt(model.state_dict()))
        add_network(tmp_path / f"{name}.pth", classes=CLASSES, preprocessing=Preprocessing(64))
    return tmp_path / "own"


@pytest.mark.parametrize("net", ["mine", "plain"])
@pytest.mark.parametrize("show", [inspect, compare, evidence, learn], ids=lambda s: s.__name__)
def test_a_page_shows_it(show: Any, net: str, own: Path) -> None:
    app = AppTest.from_function(show, default_timeout=PATIENCE)
    for key, value in {"net": net, "picture": "Coffee cup", "methods": "Grad-CAM"}.items():
        app.query_params[key] = value
    text = text_of(fine(app.run()))
    assert app.segmented_control(key="net").value == net
    assert "MobileNet-V1 0.25, 5 classes of its own" in text
    assert "nan" not in text.lower().split()
    if show is inspect:
        assert "unknown" in text


def test_a_damaged_folder_of_ones_own_leaves_the_pages_alone(own: Path) -> None:
    (own / "manifest.json").write_text("{")
    app = AppTest.from_function(evidence, default_timeout=PATIENCE)
    app.query_params["net"] = "V1-0.5"
    text = text_of(fine(app.run()))
    assert str(own) in text and "left out" in text
    assert app.segmented_control(key="net").value == "V1-0.5"
