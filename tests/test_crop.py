"""The crop and what is pasted: what comes from outside is checked, and the centre is what it was without a crop."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from streamlit.testing.v1 import AppTest

from tests.conftest import encode, noise
from tests.patience import PATIENCE
from ulsam_viz.images.preprocessing import MAX_BYTES, ImageError, Preprocessing, Square, prepare
from ulsam_viz.images.samples import ASSETS, list_samples
from ulsam_viz.ui.choose.crop import cut
from ulsam_viz.ui.choose.paste import pasted
from ulsam_viz.ui.choose.picture import shrunk

WIDE = (600, 400)


def chooser() -> None:
    import hashlib

    import streamlit as st

    from ulsam_viz.images.preprocessing import Preprocessing
    from ulsam_viz.ui.choose.picture import choose_picture, model_input
    from ulsam_viz.ui.run.state import keep_choices

    keep_choices()
    picture = choose_picture()
    pixels = model_input(picture, Preprocessing()).pixels
    st.write(
        f"shown: {picture.name}, {picture.square}, {picture.image.size}, "
        f"{hashlib.sha256(pixels.tobytes()).hexdigest()[:8]}"
    )


@pytest.fixture
def app() -> AppTest:
    return AppTest.from_function(chooser, default_timeout=PATIENCE)


def shown(app: AppTest) -> str:
    assert not app.exception, app.exception
    return next(str(m.value) for m in app.markdown if str(m.value).startswith("shown: "))


def said(app: AppTest) -> str:
    return "\n".join(str(c.value) for c in app.caption)


@pytest.mark.parametrize("size", [WIDE, (400, 600), (401, 400), (8, 8), (1024, 51_000)])
@pytest.mark.parametrize("values", [("0", "0", "1"), (0.1, 0.2, 0.4), (0.0, 0.0, 0.1), (0, 0, 0.996)])
def test_every_square_lies_in_the_picture_and_is_written_as_it_is_read(
    size: tuple[int, int], values: tuple[Any, ...]
) -> None:
    square = Square.read(values, size)
    assert Square.read(str(square).split(","), size) == square
    left, top, right, bottom = square.box(size)
    assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
    assert right - left == bottom - top == max(1, round(square.side * min(size)))


BAD = ["", "x", "0,0", "0,0,1,0", "0.5,0,1", "0,0.9,0.5"]
BAD += ["-0.1,0,0.5", "0,0,0", "0,0,0.05", "0,0,1.2", "nan,0,0.5", "0,0,nan", "0,inf,0.5", "1e999,0,1"]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_square_of_the_picture_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a crop is"):
        Square.read(text.split(","), WIDE)


@pytest.mark.parametrize("values", [[None, 0, 1], [[], 0, 1], [{}, 0, 1], [10**400, 0, 1]])
def test_what_a_browser_may_send_instead_of_numbers_is_refused(values: list[Any]) -> None:
    with pytest.raises(ValueError, match="three numbers"):
        Square.read(values, WIDE)


def test_the_largest_square_of_the_middle_is_the_centre() -> None:
    assert Square.read((0, 1 / 6, 1), WIDE) == Square.centre(WIDE)
    assert Square.centre((400, 400)) == Square(0, 0, 1)


@pytest.mark.parametrize(
    "size", [(300, 200), (1600, 1200), (1200, 1601), (1300, 1300), (5000, 300), (301, 4000), (4000, 1100)]
)
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_the_centre_of_any_upload_is_bit_by_bit_what_it_was_without_crops(size: tuple[int, int], crop: float) -> None:
    image, preprocessing = Image.fromarray(noise((size[1], size[0], 3))), Preprocessing(crop=crop)
    before = image
    if (side := min(size)) > 1024:  # only the centre square was kept
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        before = image.crop((left, top, left + side, top + side)).resize(
            (1024, 1024), Image.Resampling.LANCZOS, reducing_gap=3
        )
    upload = shrunk(image, "a.jpg")
    assert np.array_equal(prepare(upload.image, preprocessing).pixels, prepare(before, preprocessing).pixels)
    assert min(upload.whole.size) <= 1024 and max(upload.whole.size) <= 3072
    assert upload.whole.width / upload.whole.height == pytest.approx(size[0] / size[1], rel=0.01)
    assert upload.size <= 2 * 1024 * 3072 * 3


def test_a_subject_keeps_its_place_in_the_crop() -> None:
    sample = next(s for s in list_samples() if s.box)
    image = Image.open(sample.path)
    whole = Square.centre(image.size)
    assert cut(sample, image.size, whole).box == pytest.approx(sample.box, abs=0.02)
    top, left, bottom, right = sample.box or (0, 0, 0, 0)
    side = min(image.size)
    # A square about the subject's middle, half as large: the box is twice as large in it, or cut off at its border.
    y, x = ((top + bottom) / 2 - 0.25) * side, ((left + right) / 2 - 0.25) * side
    y, x = y + (image.height - side) / 2, x + (image.width - side) / 2
    moved = cut(sample, image.size, Square.read((y / image.height, x / image.width, 0.5), image.size)).box
    assert moved is not None
    assert moved[0] == pytest.approx(max(0, 0.5 - (bottom - top)), abs=0.03)
    assert moved[3] == pytest.approx(min(1, 0.5 + (right - left)), abs=0.03)


def test_a_crop_in_the_address_is_what_the_network_gets_and_a_reset_is_the_centre(app: AppTest) -> None:
    centre = shown(app.run())
    assert "crop" not in app.query_params
    cropped = AppTest.from_function(chooser, default_timeout=PATIENCE)
    cropped.query_params["crop"] = "0.10,0.25,0.80"
    text = shown(cropped.run())
    image = Image.open(ASSETS / "coffee.jpg").convert("RGB")
    side = round(0.8 * min(image.size))
    assert text.startswith(f"shown: Coffee cup, 0.10,0.25,0.80, ({side}, {side})")
    assert text[-8:] != centre[-8:]
    assert cropped.query_params["crop"] == "0.10,0.25,0.80"
    cropped.session_state["crops"].clear()
    assert shown(cropped.run()) == centre
    assert "crop" not in cropped.query_params


def test_each_picture_keeps_its_own_crop(app: AppTest) -> None:
    app.query_params["crop"] = "0.00,0.00,0.50"
    assert "0.00,0.00,0.50" in shown(app.run())
    app.selectbox(key="picture").set_value("chelsea").run()
    assert "Cat, None" in shown(app) and "crop" not in app.query_params
    app.selectbox(key="picture").set_value("coffee").run()
    assert "0.00,0.00,0.50" in shown(app) and app.query_params["crop"] == "0.00,0.00,0.50"


def test_the_crop_of_a_picture_that_is_gone_is_not_another_ones(app: AppTest) -> None:
    app.query_params["picture"], app.query_params["crop"] = "mine.jpg (own-0123456789abcdef)", "0.00,0.00,0.50"
    assert "Coffee cup, None" in shown(app.run())
    assert "no longer here" in said(app) and "crop" not in app.query_params


@pytest.mark.parametrize("text", ["<script>", *BAD[1:]])
def test_a_bad_crop_in_the_address_is_said_once_and_the_centre_is_shown(app: AppTest, text: str) -> None:
    app.query_params["crop"] = text
    assert "Coffee cup, None" in shown(app.run())
    assert "no square of this picture; the centre is shown" in said(app)
    assert "crop" not in app.query_params
    assert "no square" not in said(app.run())


def test_an_upload_is_cropped_from_the_whole_picture(app: AppTest) -> None:
    pixels = np.zeros((1200, 2400, 3), np.uint8)
    pixels[:, :700] = 255  # outside of the centre square
    app.run()
    app.file_uploader(key="upload").upload("wide.png", encode(Image.fromarray(pixels)), "image/png").run()
    assert "wide.png, None, (1024, 1024)" in shown(app)
    app.session_state["crops"] = {app.selectbox(key="picture").value: Square(0, 0, 0.5)}
    app.run()
    assert "wide.png, 0.00,0.00,0.50, (512, 512)" in shown(app)
    white = ImageOps.fit(Image.new("RGB", (9, 9), "white"), (224, 224))
    assert shown(app).endswith(hashlib.sha256(white.tobytes()).hexdigest()[:8])


def test_a_paste_brings_the_file_that_was_sent() -> None:
    data = encode(Image.new("RGB", (20, 20)))
    assert pasted({"size": len(data), "time": 1, "data": base64.b64encode(data).decode()}) == data


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (None, "did not arrive"),
        ("text", "did not arrive"),
        ({}, "did not arrive"),
        ({"data": 7}, "did not arrive"),
        ({"data": "no base64!"}, "did not arrive"),
        ({"data": "ä"}, "did not arrive"),
        ({"data": "", "size": MAX_BYTES + 1}, "too large"),
        ({"data": "A" * (MAX_BYTES * 3 // 2)}, "too large"),
    ],
    ids=range(8),
)
def test_a_paste_that_is_none_is_said_in_one_sentence(report: object, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        pasted(report)
