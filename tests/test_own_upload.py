"""A network uploaded on the page: for this session alone, and a bad one harms nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from tests.patience import PATIENCE
from tests.test_app import APP, fine, text_of
from tests.test_own import CLASSES, StandAlone, lively, mobilenet_v1, pt, with_modules
from ulsam_viz.engine.engine import Engine
from ulsam_viz.images.preprocessing import ModelInput
from ulsam_viz.ui.run.uploaded_networks import SWITCH, may_upload_networks
from ulsam_viz.zoo.user_networks import read_checkpoint
from ulsam_viz.zoo.variants import list_variants


@pytest.fixture(autouse=True)
def _offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "1")  # a test without a browser comes from nowhere


def a_file() -> bytes:
    return pt(lively(StandAlone(with_modules(mobilenet_v1(), (11,)), "model", "fc")).state_dict())


def app_of_a_visitor(**query: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=PATIENCE)
    for key, value in ({"net": "V1-0.5", "methods": "Grad-CAM"} | query).items():
        app.query_params[key] = value
    app.session_state["own-network"] = True
    return fine(app.run())


def bring(app: AppTest, name: str, data: bytes) -> AppTest:
    return fine(app.file_uploader(key="own-file").upload(name, data, "application/octet-stream").run())


def test_an_uploaded_network_is_shown_at_once_to_nobody_else() -> None:
    app = app_of_a_visitor()
    app.text_area(key="own-classes").set_value("\n".join(CLASSES))
    bring(app, "mine.pth", a_file())
    assert app.segmented_control(key="net").value == "mine"
    text = text_of(app)
    assert "Read as " in text and "after layer 11" in text and f"{len(CLASSES)} classes" in text
    assert not app.error
    other = app_of_a_visitor(net="mine")
    assert "There is no network “mine”" in text_of(other)
    assert "mine" not in {v.name for v in list_variants()}


def test_removing_its_file_returns_to_what_was_chosen_before() -> None:
    app = app_of_a_visitor(position="after 6", g="8")
    bring(app, "mine.pth", a_file())
    assert app.segmented_control(key="net").value == "mine"
    app.file_uploader(key="own-file").clear()
    fine(app.run())
    assert app.segmented_control(key="net").value == "V1-0.5" and "mine" not in app.segmented_control(key="net").options
    assert "mobilenet_v1-0.5-after6-g8" in text_of(app)
    assert "Read as" not in text_of(app) and "There is no network" not in text_of(app)
    bring(app, "mine.pth", a_file())
    app.file_uploader(key="own-file").clear()  # as a browser does before it sends what replaces the file
    fine(app.run())
    bring(app, "bad.pth", b"not a network")
    # Which stays, as nothing took its place
    assert len(app.error) == 1 and app.segmented_control(key="net").value == "mine"


def test_what_was_said_wrong_can_be_said_again() -> None:
    app = app_of_a_visitor()
    bring(app, "mine.pth", a_file())
    assert app.segmented_control(key="net").value == "mine"
    fine(app.text_area(key="own-classes").set_value("only one").run())
    (error,) = app.error
    assert "1 classes are named" in error.value
    assert app.segmented_control(key="net").value == "mine"  # what was there stays
    fine(app.text_area(key="own-classes").set_value("\n".join(CLASSES)).run())
    assert not app.error and CLASSES[0] in "\n".join(app.selectbox(key="target").options)


@pytest.mark.parametrize("place", ["layers", "text"])
def test_a_place_of_modules_that_is_no_number_is_said(place: str) -> None:
    app = app_of_a_visitor()
    app.text_input(key="own-layers").set_value("eleven" if place == "text" else "99")
    bring(app, "mine.pth", a_file())
    (error,) = app.error
    assert ("layers are numbers" in error.value) == (place == "text")
    assert app.segmented_control(key="net").value == "V1-0.5"


class Evil:
    def __reduce__(self) -> Any:
        import os

        return os.system, ("touch /tmp/ulsam_viz_was_here",)


def _nan() -> bytes:
    state = lively(StandAlone(with_modules(mobilenet_v1(), (11,)), "model", "fc")).state_dict()
    next(iter(state.values())).fill_(float("nan"))
    return pt(state)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a network",
        a_file()[:-2000],
        _nan(),
        pt({"weight": Evil()}),
        pt({f"k{i}": torch.zeros(1) for i in range(20_000)}),
    ],
    ids=["empty", "text", "truncated", "nan", "pickle", "tiny tensors"],
)
def test_a_bad_file_is_one_sentence_and_nothing_else_changes(data: bytes) -> None:
    from pathlib import Path

    app = app_of_a_visitor()
    before = text_of(app)
    bring(app, "bad.pt", data)
    (error,) = app.error
    assert "bad.pt" in error.value and "Traceback" not in error.value and "\n" not in error.value
    assert app.segmented_control(key="net").value == "V1-0.5"
    assert "mobilenet_v1-0.5-after11-g4" in before and "mobilenet_v1-0.5-after11-g4" in text_of(app)
    assert not Path("/tmp/ulsam_viz_was_here").exists()


def test_a_server_may_switch_it_off_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    assert not any(box.key == "own-file" for box in app_of_a_visitor().get("file_uploader"))
    monkeypatch.delenv(SWITCH)
    import streamlit as st

    for url, ip, may in (
        ("http://localhost:8501/", None, True),
        ("http://127.0.0.1:8501/", "127.0.0.1", True),
        ("http://[::1]:8501/", "::1", True),
        ("http://127.0.0.1:8501/", "::ffff:127.0.0.1", True),
        ("http://127.0.0.1:8501/", "::ffff:192.0.2.9", False),
        ("https://maps.example.org/", "127.0.0.1", False),
        ("https://maps.example.org/", None, False),  # a proxy on the same machine
        ("http://192.0.2.7:8501/", "192.0.2.9", False),
        ("http://localhost:8501/", "192.0.2.9", False),
    ):
        context = type("Context", (), {"url": url, "ip_address": ip, "headers": {}})()
        monkeypatch.setattr(st, "context", context)
        assert may_upload_networks() == may, (url, ip)
        for header in ("X-Forwarded-For", "Forwarded", "Via"):  # a proxy passes it on: nobody knows where from
            context.headers = {header: "127.0.0.1"}
            assert not may_upload_networks(), (url, ip, header)
        monkeypatch.setenv(SWITCH, "1")
        assert may_upload_networks()
        monkeypatch.delenv(SWITCH)


def test_the_engine_computes_with_a_network_in_memory(picture: ModelInput) -> None:
    from dataclasses import replace

    read = read_checkpoint(a_file(), "mine.pth", classes=CLASSES)
    variant = replace(read.variant, weights=read.weights)
    seen = Engine(workers=1).attend(picture, variant).result()
    with torch.inference_mode():
        logits, maps = read.network.forward_with_attention(picture.tensor)
    scale = np.abs(logits.numpy()).max()
    np.testing.assert_allclose(seen.logits / scale, logits[0].numpy() / scale, atol=1e-4)
    np.testing.assert_allclose(seen.maps[11], maps[11][0].numpy(), atol=1e-4)
