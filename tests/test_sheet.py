"""One look as pictures and files."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from ulsam_viz.analysis.attribution import Attribution
from ulsam_viz.report.result import Sheet

RNG = np.random.default_rng(0)


def a_sheet(gain: str = "published") -> Sheet:
    maps = RNG.random((4, 7, 7)).astype(np.float32)
    maps /= maps.sum((1, 2), keepdims=True)
    values = RNG.standard_normal((64, 64)).astype(np.float32)
    logits = np.array([0.0, 2.0, 1.0])
    return Sheet(
        "A network",
        "a-network",
        "A picture",
        RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8),
        ["cat", "dog", "stop sign"],
        logits,
        np.exp(logits) / np.exp(logits).sum(),
        1,
        {11: maps},
        {11: gain},
        {"grad_cam": Attribution("grad_cam", 1, values, True, 0.1, 1, None, None, "")},
    )


def test_what_is_saved_can_be_read_again(tmp_path: Path) -> None:
    sheet = a_sheet()
    files = sheet.save(tmp_path / "out", settings={"seed": 0})
    names = {f.name for f in files}
    pictures = {"picture", "attribution-grad_cam", *(f"attention-11-{k}" for k in (1, 2, 3, 4))}
    assert names == {"input.png", "sheet.png", "numbers.npz", "settings.json"} | {
        f"{p}.{kind}" for p in pictures for kind in ("png", "svg")
    }
    with np.load(tmp_path / "out" / "numbers.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["attention_11"], sheet.attention[11])
        assert np.array_equal(archive["attribution_grad_cam"], sheet.attributions["grad_cam"].values)
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["seed"] == 0 and settings["target"] == "dog" and settings["network"] == "a-network"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "input.png")), sheet.pixels)
    for file in files:
        if file.suffix == ".svg":
            text = "".join(ElementTree.parse(file).getroot().itertext())
            assert {"picture.svg": "A picture", "attention-11-2.svg": "Layer 11, subspace 2"}.get(file.name, "") in text
        elif file.suffix == ".png" and file.name != "input.png":
            assert Image.open(file).width > 200
    again = [f.read_bytes() for f in sheet.save(tmp_path / "out", settings={"seed": 0}) if f.suffix == ".svg"]
    assert again == [f.read_bytes() for f in files if f.suffix == ".svg"]  # no date in it


def test_a_figure_shows_every_map_on_one_scale_with_its_values() -> None:
    sheet = a_sheet()
    figure = sheet.figure()
    assert len(figure.data) == 4 and {trace.coloraxis for trace in figure.data} == {"coloraxis"}
    for trace, m in zip(figure.data, sheet.attention[11], strict=True):
        assert np.asarray(trace.customdata) == pytest.approx(m * 49)
    signed = sheet.figure("grad_cam").data[0]
    assert signed.zmin == -signed.zmax
    with pytest.raises(KeyError, match="there are 11, grad_cam"):
        sheet.figure("saliency")
    several = replace(
        sheet, attention={6: sheet.attention[11][:1], 8: sheet.attention[11][:2], 13: sheet.attention[11][:3]}
    )
    assert len(several.figure().data) == 3  # the last one of a pass, not the last one by the alphabet


def test_the_gains_of_both_kinds_have_scales_of_their_own() -> None:
    published, normalised = (a_sheet(gain).scaled("gain")[11] for gain in ("published", "normalised"))
    assert published.values == pytest.approx(1 + published.maps)
    assert normalised.values == pytest.approx((1 + 49 * normalised.maps) / 2, rel=1e-6)
    assert (published.low, normalised.low) == (1.0, 0.5)


def test_the_sheet_has_all_panels_and_its_address() -> None:
    image = Image.open(io.BytesIO(a_sheet().png(address="http://localhost/?g=4")))
    assert image.info["Source"] == "http://localhost/?g=4" and image.height > 3 * 64
