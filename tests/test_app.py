"""The app's journeys without a browser: what a visitor chooses is what is computed, and nothing shows a traceback."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from tests.components import answers, mounted, tiles, words_of
from tests.conftest import encode, noise
from tests.patience import PATIENCE
from ulsam_viz.analysis.attribution import Attribution
from ulsam_viz.analysis.methods import METHODS
from ulsam_viz.images import MAX_BYTES
from ulsam_viz.images.samples import ASSETS, list_samples
from ulsam_viz.models.backbones import BACKBONES
from ulsam_viz.ui.inspect.page import _attribution_tile
from ulsam_viz.ui.run.scene import Scene
from ulsam_viz.zoo.variants import Variant, list_variants

APP = str(Path(__file__).parent.parent / "app.py")


@pytest.fixture
def app() -> AppTest:
    app = AppTest.from_file(APP, default_timeout=PATIENCE)
    app.query_params["net"] = "V1-0.5"  # a fast one
    return app


def text_of(app: AppTest) -> str:
    elements = [*app.markdown, *app.caption, *app.subheader, *app.info, *app.error]
    written = [*(str(e.value) for e in elements), words_of(app), *(e.proto.body for e in app.get("html"))]
    return "\n".join(written)


def chart(app: AppTest, kind: str, index: int = 0) -> dict[str, Any]:
    """Return the first trace of the index-th chart of a kind."""
    found = [json.loads(c.proto.spec)["data"][0] for c in app.get("plotly_chart")]
    return [trace for trace in found if trace["type"] == kind][index]


def fine(app: AppTest) -> AppTest:
    assert not app.exception, app.exception
    return app


def test_the_first_visit_opens_on_a_network_that_knows_the_photograph() -> None:
    app = fine(AppTest.from_file(APP, default_timeout=PATIENCE).run())
    text = text_of(app)
    assert "EfficientNet-Lite0 with 4 subspaces after layer 12" in text
    assert mounted(app, "strip")[0]["title"] == "Coffee cup"
    assert "EfficientNet-Lite0, 1,000 classes of ImageNet" in text
    assert "The network says “espresso”, and is right." in text
    assert len(app.selectbox(key="target").options) == 1001  # and the predicted one
    # Of the warning alone: whose pictures it was counted on
    assert "101 classes" not in text and text.count("Caltech-101") == 2


def test_the_first_visit_shows_everything_computed(app: AppTest) -> None:
    text = text_of(fine(app.run()))
    assert not app.error
    assert "Coffee cup" in text
    assert "4 subspaces after layer 11" in text
    assert "14 × 14 places; 256 channels in 4 subspaces of 64" in text
    assert "mobilenet_v1-0.5-after11-g4" in text
    assert "convergence delta" in text
    assert len(answers(app)) == 3
    assert [t["id"] for t in tiles(app, role="map")] == [*(f"11.{k}" for k in range(4)), "11.blend"]
    assert [t["id"] for t in tiles(app, role="attribution")] == ["grad_cam", "integrated_gradients"]
    assert "What attention does here" not in text  # nothing is open
    assert not app.get("plotly_chart")  # nor loads the browser what draws charts


def test_statistics_are_there_for_those_who_open_them(app: AppTest) -> None:
    app.session_state["statistics"] = True
    fine(app.run())
    assert len(chart(app, "heatmap", 0)["z"]) == 4  # agreement: g rows
    assert len(chart(app, "heatmap", 0)["z"][0]) == 2  # two methods
    redundancy = chart(app, "heatmap", 1)["z"]
    assert [row[i] for i, row in enumerate(redundancy)] == pytest.approx([1, 1, 1, 1])


def test_each_run_ends_with_its_number(app: AppTest) -> None:
    """That is what tests in a browser wait for: nothing of the run is missing when its number is there."""
    for number in (1, 2):
        fine(app.run())
        assert [number] == [int(n) for n in re.findall(r'<span data-run="(\d+)">', text_of(app))]


def choose(app: AppTest, variant: Variant) -> None:
    """Move the sliders to a network."""
    fine(app.segmented_control(key="net").set_value(BACKBONES[variant.backbone].short_of(variant.width)).run())
    if app.get("button_group") and any(b.key == "gain-shown" for b in app.get("button_group")):
        fine(app.selectbox(key="gain").set_value(variant.gain).run())
    if variant.placement is None:
        fine(app.select_slider(key="position").set_value("plain").run())
    else:
        place = f"{variant.placement.mode}-{'-'.join(map(str, variant.placement.layers))}"
        fine(app.select_slider(key="position").set_value(place).run())
        fine(app.select_slider(key="g").set_value(variant.groups).run())


def test_every_stop_of_the_sliders_is_its_own_variant() -> None:
    def chooser() -> None:
        import streamlit as st

        from ulsam_viz.ui.choose.network import choose_variant
        from ulsam_viz.zoo.variants import list_variants

        st.write(f"chosen: {choose_variant(list_variants()).name}")

    app = fine(AppTest.from_function(chooser, default_timeout=PATIENCE).run())
    for variant in list_variants():
        choose(app, variant)
        assert f"chosen: {variant.name}\n" in text_of(app)


ONE_OF_EACH_KIND = {(v.backbone, v.width, v.placement and v.placement.mode, v.gain): v for v in list_variants()}


@pytest.mark.parametrize("variant", ONE_OF_EACH_KIND.values(), ids=lambda v: v.name)
def test_a_network_of_each_kind_shows_what_it_is(app: AppTest, variant: Variant) -> None:
    app.query_params["methods"] = "Grad-CAM"
    fine(app.run())
    choose(app, variant)
    assert variant.name in text_of(app)
    assert ("carries no attention module" in text_of(app)) == (variant.placement is None)


def test_another_backbone_may_lack_the_position(app: AppTest) -> None:
    """The slider then goes to a position that it has; what the visitor chose beside it stays."""
    app.query_params["position"], app.query_params["g"] = "after 6", "8"
    assert "mobilenet_v1-0.5-after6-g8" in text_of(fine(app.run()))
    fine(app.segmented_control(key="net").set_value("V2-0.5").run())
    assert "mobilenet_v2-0.5-after11-g8" in text_of(app)
    assert not app.error


@pytest.mark.parametrize("method", METHODS)
def test_each_method_can_be_chosen_alone(app: AppTest, method: str) -> None:
    app.session_state["statistics"] = True
    fine(app.run())
    fine(app.button_group(key="methods").set_value([method]).run())
    assert METHODS[method].source in text_of(app)
    assert len(chart(app, "heatmap", 0)["z"][0]) == 1


def test_the_address_may_ask_for_any_number_of_steps_and_the_tile_says_that_they_do_not_suffice(app: AppTest) -> None:
    # None of the menu's
    app.query_params.update({"methods": "Integrated gradients", "integrated_gradients.steps": "1"})
    fine(app.run())
    assert app.selectbox(key="integrated_gradients.steps").value == 1
    (tile,) = tiles(app, role="attribution")
    assert re.fullmatch(r"signed, sum off by \d+%", tile["note"]) and "take more steps" in tile["title"]
    assert "too large to rely on" in text_of(app)


def test_a_map_that_is_being_refined_is_shown_with_how_far_it_is() -> None:
    so_far = Attribution("integrated_gradients", 0, np.eye(32, dtype=np.float32), True, 1.0, 25, -0.5, 2.0, "")
    scene = SimpleNamespace(
        crop=SimpleNamespace(pixels=noise((32, 32, 3))),
        methods={"integrated_gradients": {}},
        variant=SimpleNamespace(input_size=32),
        target=0,
        class_name=lambda number: "cup",
    )
    tile = _attribution_tile(cast(Scene, scene), "integrated_gradients", Future(), so_far)
    assert tile.note == "so far, 25 of at most 128 passes of one picture: signed, sum off by 25%"
    assert tile.drawing is not None and tile.role == "other" and not tile.wait


def test_no_method_is_fine_too(app: AppTest) -> None:
    app.session_state["statistics"] = True
    fine(app.run())
    fine(app.button_group(key="methods").set_value([]).run())
    assert not tiles(app, role="attribution")
    assert [len(row["offers"]) for row in mounted(app, "tiles") if row["offers"]] == [len(METHODS)]
    assert "Choose an attribution method to compare with." in text_of(app)


def test_an_upload_is_decoded_and_shown(app: AppTest) -> None:
    fine(app.run())
    data = (ASSETS / "coffee.jpg").read_bytes()
    # Browsers count in millions, too
    assert app.file_uploader(key="upload").proto.max_upload_size_mb * 10**6 == MAX_BYTES
    fine(app.file_uploader(key="upload").upload("holiday.jpg", data, "image/jpeg").run())
    assert str(app.selectbox(key="picture").value).startswith("own-")
    assert not app.error
    # The sample of the same picture gives the same answer; choosing one leaves the upload.
    uploaded = answers(app)
    fine(app.selectbox(key="picture").set_value("coffee").run())
    assert "Coffee cup" in text_of(app)
    assert answers(app) == uploaded


def test_a_range_of_values_that_was_chosen_is_told(app: AppTest) -> None:
    fine(app.run())
    dim = Image.fromarray(np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16))
    text = text_of(fine(app.file_uploader(key="upload").upload("scan.tiff", encode(dim, "TIFF"), "image/tiff").run()))
    assert "The picture's values reach from 0 to 4095" in text


@pytest.mark.parametrize(
    ("file", "kind", "doubted"), [("chelsea.jpg", "image/jpeg", True), ("sunflower.png", "image/png", False)]
)
def test_an_upload_that_no_class_may_fit_is_told_so(app: AppTest, file: str, kind: str, doubted: bool) -> None:
    """A cat, of which the classes hold only wild ones, and a sunflower, which is one."""
    fine(app.run())
    text = text_of(fine(app.file_uploader(key="upload").upload(file, (ASSETS / file).read_bytes(), kind).run()))
    assert ("None of the network's classes may fit" in text) == doubted
    assert "of test pictures get a less sure answer" in text


@pytest.mark.parametrize(
    "name", ["photo.jfif", "photo.JPE", "photo.mpo", "photo", "की फ़ोटो.jpg", "e\u0301te\u0301.jpg"]
)
def test_a_picture_is_taken_whatever_its_name_ends_in_and_keeps_its_name(app: AppTest, name: str) -> None:
    app.query_params["net"] = "V1-0.5"
    fine(app.run())
    fine(app.file_uploader(key="upload").upload(name, (ASSETS / "coffee.jpg").read_bytes(), "").run())
    assert not app.error and any(option.startswith(f"{name} (own-") for option in app.selectbox(key="picture").options)


def test_an_upload_outlives_the_uploader_of_a_page_but_not_its_removal() -> None:
    """A page may show no uploader; the next one's is empty."""

    def pages() -> None:
        import streamlit as st

        from ulsam_viz.ui.choose.picture import choose_picture
        from ulsam_viz.ui.run.state import keep_choices

        keep_choices()
        if st.text_input("page", "a") == "a":
            st.write(f"shown: {choose_picture().name}")

    app = AppTest.from_function(pages, default_timeout=PATIENCE)
    app.query_params["net"] = "V1-0.5"  # a fast one
    fine(app.run())
    fine(
        app.file_uploader(key="upload").upload("holiday.jpg", (ASSETS / "coffee.jpg").read_bytes(), "image/jpeg").run()
    )
    assert "shown: holiday.jpg" in text_of(app)
    fine(app.text_input[0].set_value("b").run())
    assert "shown" not in text_of(app)
    fine(app.text_input[0].set_value("a").run())
    assert "shown: holiday.jpg" in text_of(app)
    fine(app.file_uploader(key="upload").upload("other.jpg", (ASSETS / "chelsea.jpg").read_bytes(), "image/jpeg").run())
    assert "shown: other.jpg" in text_of(app)
    app.file_uploader(key="upload").clear()
    fine(app.run())
    assert "shown: Coffee cup" in text_of(app)


BAD_FILES = {
    "text.jpg": b"hello",
    "empty.png": b"",
    "cut.jpg": (ASSETS / "coffee.jpg").read_bytes()[:5000],
    "heic.png": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99,
    "strip.png": encode(Image.new("RGB", (5000, 10))),
    "noise.gif": noise((3000,)).tobytes(),
    "paper.pdf": b"%PDF-1.7",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_upload_is_refused_in_one_sentence_and_nothing_is_lost(app: AppTest, name: str) -> None:
    fine(app.run())
    fine(app.select_slider(key="g").set_value(8).run())
    fine(app.file_uploader(key="upload").upload(name, BAD_FILES[name], "image/png").run())
    (error,) = app.error
    assert error.value.endswith(".")
    assert "Traceback" not in error.value
    assert "Coffee cup" in text_of(app)
    assert "mobilenet_v1-0.5-after11-g8" in text_of(app)


def test_a_bad_upload_leaves_the_sample_that_was_chosen_last(app: AppTest) -> None:
    fine(app.run())
    fine(app.file_uploader(key="upload").upload("good.jpg", (ASSETS / "chelsea.jpg").read_bytes(), "image/jpeg").run())
    fine(app.selectbox(key="picture").set_value("coffee").run())
    fine(app.file_uploader(key="upload").upload("bad.jpg", b"not a picture", "image/jpeg").run())
    assert len(app.error) == 1
    assert "Coffee cup" in text_of(app)


def test_a_large_upload_gives_the_crop_of_the_whole_picture(app: AppTest) -> None:
    from ulsam_viz import explain

    large = Image.open(ASSETS / "coffee.jpg").resize((3600, 2400))
    fine(app.run())
    fine(app.file_uploader(key="upload").upload("*large*.jpg", encode(large, "JPEG"), "image/jpeg").run())
    assert any(option.startswith("_large_.jpg") for option in app.selectbox(key="picture").options)
    classes = next(v for v in list_variants() if v.groups == 4).classes
    top = classes[explain(large, "mobilenet_v1-0.5-after11-g4").target].replace("_", " ")
    assert next(iter(answers(app))) == top


def test_a_bad_upload_after_a_good_one_keeps_the_good_one(app: AppTest) -> None:
    fine(app.run())
    fine(app.file_uploader(key="upload").upload("good.jpg", (ASSETS / "chelsea.jpg").read_bytes(), "image/jpeg").run())
    fine(app.file_uploader(key="upload").upload("bad.jpg", b"not a picture", "image/jpeg").run())
    assert len(app.error) == 1
    assert str(app.selectbox(key="picture").value).startswith("own-")


@pytest.mark.parametrize("sample", list_samples(), ids=lambda s: s.path.stem)
def test_every_sample_says_where_it_is_from(app: AppTest, sample: Any) -> None:
    fine(app.run())
    fine(app.selectbox(key="picture").set_value(sample.path.stem).run())
    assert sample.licence in text_of(app)
    assert sample.notice in text_of(app)


def test_a_target_can_be_chosen_and_shows_in_the_bars(app: AppTest) -> None:
    fine(app.run())
    fine(app.selectbox(key="target").set_value("accordion").run())
    assert "Why “accordion”?" in text_of(app)
    assert "accordion" in answers(app)


def test_the_address_says_how_maps_are_drawn(app: AppTest) -> None:
    wished = {"scale": "gain", "colours": "magma", "opacity": "0.3", "smooth": "true", "blend": "true"}
    app.query_params.update(wished)
    fine(app.run())
    (view,) = mounted(app, "view")
    assert view["display"] == {"scale": "gain", "colours": "magma", "opacity": 0.3, "smooth": True, "blend": True}
    assert {name: app.query_params[name] for name in wished} == wished


@pytest.mark.parametrize(
    "wished", [{"scale": "x"}, {"opacity": "nan"}, {"opacity": "1e99"}, {"colours": ""}, {"smooth": "maybe"}]
)
def test_nonsense_about_how_maps_are_drawn_falls_back(app: AppTest, wished: dict[str, str]) -> None:
    app.query_params.update(wished)
    fine(app.run())
    opacity = 1.0 if "1e99" in wished.values() else 0.65
    (view,) = mounted(app, "view")
    assert view["display"] == {
        "scale": "uniform",
        "colours": "viridis",
        "opacity": opacity,
        "smooth": False,
        "blend": False,
    }


def test_the_address_restores_the_view(app: AppTest) -> None:
    app.query_params["g"] = "16"
    app.query_params["picture"] = "Coffee cup"
    app.query_params["subspace"] = "layer 11, subspace 13"
    app.query_params["methods"] = ["Saliency", "Occlusion"]
    app.query_params["target"] = "cup"
    text = text_of(fine(app.run()))
    assert "mobilenet_v1-0.5-after11-g16" in text
    assert "Coffee cup" in text
    assert "channels 192 to 207" in text
    assert "Zeiler" in text
    assert "Why “cup”?" in text
    assert [t["id"] for t in tiles(app) if t["selected"] and "." in t["id"]] == ["11.12"]


def test_nonsense_in_the_address_falls_back(app: AppTest) -> None:
    for key, value in {
        "g": "7",
        "picture": "../../etc/passwd",
        "subspace": "layer 99, subspace 1",
        "methods": "magic",
        "opacity": "x",
    }.items():
        app.query_params[key] = value
    text = text_of(fine(app.run()))
    assert "mobilenet_v1-0.5-after11-g4" in text
    assert not app.error


def test_what_the_address_asks_for_in_vain_is_said(app: AppTest) -> None:
    for key, value in {
        "picture": "Dog",
        "net": "V9",
        "position": "after 99",
        "g": "7",
        "target": "dragonfruit",
    }.items():
        app.query_params[key] = value
    text = text_of(fine(app.run()))
    for line in (
        "There is no picture “Dog”; Coffee cup is shown.",
        "There is no network “V9”; Lite0 is shown.",
        "Lite0 has no position “after 99”; after 12 is shown.",
        "Nothing was trained here with g = 7; g = 4 is shown.",
        "The network knows no class “dragonfruit”; the predicted class is the target.",
    ):
        assert line in text
    assert not {"picture", "net", "position", "g", "target"} & set(app.query_params)
    fine(app.select_slider(key="g").set_value(8).run())
    assert "There is no" not in text_of(app)  # it was said once


def test_what_closed_popovers_choose_is_said_in_sight(app: AppTest) -> None:
    for key, value in {
        "methods": ["Nonsense", "Integrated gradients"],
        "integrated_gradients.steps": "few",
        "target": "dragonfruit",
        "subspace": "layer 99",
        "device": "TPU",
        "scale": "wrong",
    }.items():
        app.query_params[key] = value
    fine(app.run())
    steps = next(s for s in METHODS["integrated_gradients"].settings if s.name == "steps")
    hidden = "\n".join(str(e.value) for popover in app.get("popover") for e in popover.get("caption"))  # type: ignore[union-attr]
    for line in (
        "There is no attribution method “Nonsense”.",
        f"There is no Integrated gradients with {steps.label.lower()} “few”; {steps.default} is taken.",
        "The network knows no class “dragonfruit”; the predicted class is the target.",
        "The network has no “layer 99”.",
        "There is no device “TPU”; Auto is taken.",
        "There is no scale “wrong”.",
    ):
        assert line in text_of(app) and line not in hidden, line
    assert app.pills(key="methods").value == ["integrated_gradients"] and "subspace" not in app.query_params
    fine(app.select_slider(key="g").set_value(8).run())
    assert "There is no" not in text_of(app) and "has no “" not in text_of(app)


def test_the_slider_says_why_a_group_count_is_missing(app: AppTest) -> None:
    for key, value in {"net": "Lite0", "position": "after 6", "g": "16"}.items():
        app.query_params[key] = value
    text = text_of(fine(app.run()))
    assert "Nothing was trained here with g = 16; g = 4 is shown." in text
    assert "40 channels do not divide by 16." in text
    assert app.select_slider(key="g").options == ["1", "2", "4", "8"]
    fine(app.select_slider(key="position").set_value("after-12").run())
    assert "do not divide" not in text_of(app)


def test_a_position_that_the_next_network_lacks_is_named_and_leaves_the_address(app: AppTest) -> None:
    app.query_params["position"] = "instead 10"
    assert "mobilenet_v1-0.5-instead10" in text_of(fine(app.run()))
    fine(app.segmented_control(key="net").set_value("V2-0.5").run())
    assert "mobilenet_v2-0.5-after11" in text_of(app)
    assert "V2-0.5 has no position “instead 10”; after 11 is shown." in text_of(app)
    assert "position" not in app.query_params  # after 11 is what an address without a position shows


def test_an_address_brings_an_upload_back_and_says_where_it_is_gone(app: AppTest) -> None:
    from ulsam_viz.ui.run.uploads import uploads

    fine(app.run())
    fine(app.file_uploader(key="upload").upload("mine.jpg", (ASSETS / "coffee.jpg").read_bytes(), "image/jpeg").run())
    key = str(app.selectbox(key="picture").value)
    assert key.startswith("own-")  # the list does not claim a sample
    again = AppTest.from_file(APP, default_timeout=PATIENCE)
    again.query_params["net"] = "V1-0.5"
    again.query_params["picture"] = app.query_params["picture"]
    fine(again.run())
    assert any("mine.jpg" in option for option in again.selectbox(key="picture").options)
    assert again.selectbox(key="picture").value == key
    fine(again.selectbox(key="picture").set_value("grace_hopper").run())  # the sample that was shown before it, too
    assert mounted(again, "strip")[0]["title"] == "Grace Hopper"

    uploads().remove(key, "", lambda _: False)
    gone = AppTest.from_file(APP, default_timeout=PATIENCE)
    gone.query_params["net"] = "V1-0.5"
    gone.query_params["picture"] = app.query_params["picture"]
    assert "The uploaded picture is no longer here: upload it again; Coffee cup is shown." in text_of(fine(gone.run()))
    assert "no longer here" in text_of(fine(app.run()))  # in the session that brought it, too


def bring(app: AppTest, name: str, sample: str) -> str:
    """Upload a sample under a name; return what the address calls it."""
    fine(app.file_uploader(key="upload").upload(name, (ASSETS / sample).read_bytes(), "image/jpeg").run())
    return str(app.query_params["picture"])


def test_an_upload_that_comes_with_the_address_of_the_one_before_it_is_shown(app: AppTest) -> None:
    """A browser under load sends an address that the page has changed meanwhile."""
    fine(app.run())
    before = bring(app, "before.jpg", "coffee.jpg")
    app.file_uploader(key="upload").clear()
    taken_away = text_of(fine(app.run()))
    fine(app.run())
    app.query_params["picture"] = before
    bring(app, "after.jpg", "chelsea.jpg")
    assert app.selectbox(key="picture").options[0].startswith("after.jpg")
    assert str(app.selectbox(key="picture").value).startswith("own-")
    assert "no longer here" not in taken_away + text_of(app)  # the visitor took it away


def test_going_back_to_a_replaced_upload_names_it(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    fine(app.run())
    before = bring(app, "before.jpg", "coffee.jpg")
    bring(app, "after.jpg", "chelsea.jpg")  # taking away and bringing arrive as one
    assert [option.partition(" (own-")[0] for option in app.selectbox(key="picture").options[:2]] == [
        "after.jpg",
        "Coffee cup",
    ]
    app.query_params["picture"] = before
    monkeypatch.setattr("ulsam_viz.ui.run.address.has_walked", lambda: True)
    assert "The uploaded picture is no longer here: upload it again; " in text_of(fine(app.run()))


def test_a_wish_for_cuda_says_why_it_cannot_be_met(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    fine(app.run())
    fine(app.button_group(key="device").set_value("cuda").run())
    assert "the CPU is used" in text_of(app)


def test_a_damaged_checkpoint_is_named_and_the_others_go_on(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ulsam_viz.engine.engine as engine
    from ulsam_viz.zoo.variants import CheckpointError, load_network

    def load(variant: Any) -> Any:
        if variant.groups == 8:
            raise CheckpointError(f"variant '{variant.name}' cannot be used: damaged")
        return load_network(variant)

    monkeypatch.setattr(engine, "load_network", load)
    monkeypatch.setattr(engine, "_default", engine.Engine(workers=1))
    fine(app.run())
    fine(app.select_slider(key="g").set_value(8).run())
    assert "mobilenet_v1-0.5-after11-g8" in app.error[0].value
    fine(app.select_slider(key="g").set_value(2).run())
    assert not app.error


def test_a_method_that_fails_says_so_and_the_page_goes_on(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    import ulsam_viz.engine.engine as engine

    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(engine, "attribute", fails)
    monkeypatch.setattr(engine, "_default", engine.Engine(workers=1))
    text = text_of(fine(app.run()))
    assert all("no memory left" in t["wait"] for t in tiles(app) if t["id"] in METHODS)
    assert len(tiles(app, role="map")) == 5
    assert "This address restores the view" in text


def test_without_a_zoo_the_page_says_so(app: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ulsam_viz.ui.run import page
    from ulsam_viz.zoo.variants import list_variants as real

    monkeypatch.setattr(page, "list_variants", lambda: real(tmp_path))
    fine(app.run())
    assert "no manifest of trained variants" in app.error[0].value


FIRST = "layer 11, subspace 1"
QUESTIONS = {
    "Effect if removed": "with its places shuffled, by",
    "Shapley share": "All 16 coalitions were evaluated",
    "Why there?": "Which pixels make subspace 1 attend",
    "Contribution through it": "summed over each group's channels",
    "Is it faithful?": "Better than random maps beyond chance: in insertion",
    "Random-weight check": "beyond chance and by ρ ≥ 0.3 in most of 8 shuffles",
    "Cover a part": "Turn subspace 1's attention up or down",
}


@pytest.mark.parametrize(("question", "answer"), QUESTIONS.items())
def test_each_question_about_a_subspace_is_answered(app: AppTest, question: str, answer: str) -> None:
    app.query_params["subspace"] = FIRST
    app.query_params["question"] = question
    app.query_params["methods"] = "Grad-CAM"
    assert answer in text_of(fine(app.run()))
    assert not app.error


@pytest.mark.parametrize("address", ["shapley", "Shapley share"])
def test_questions_have_ids_as_their_address_and_names_of_old_addresses_become_ids(app: AppTest, address: str) -> None:
    app.query_params["subspace"] = FIRST
    app.query_params["question"] = address
    assert "All 16 coalitions were evaluated" in text_of(fine(app.run()))
    assert app.query_params["question"] == "shapley"
    assert app.button_group(key="question-shown").value == "shapley"
    fine(app.button_group(key="question-shown").set_value("ablation").run())
    assert "with its places shuffled" in text_of(app)
    assert "question" not in app.query_params


def test_the_plain_control_is_asked_nothing(app: AppTest) -> None:
    app.query_params["position"] = "none (plain)"
    assert "What attention does here" not in text_of(fine(app.run()))


def test_shares_and_parts_sum_to_the_whole_on_the_page(app: AppTest) -> None:
    app.query_params["subspace"] = FIRST
    app.query_params["question"] = "Shapley share"
    (numbers,) = re.findall(r"sum to ([+-][\d.]+); the logit .* is ([+-][\d.]+)\.", text_of(fine(app.run())))
    assert float(numbers[0]) == pytest.approx(float(numbers[1]), abs=2e-5)
    bars = next(c for c in (json.loads(c.proto.spec)["data"][0] for c in app.get("plotly_chart")) if "error_x" in c)
    assert sum(bars["x"]) == pytest.approx(float(numbers[0]), abs=1e-4)


def test_covering_and_strength_move_the_answer(app: AppTest) -> None:
    app.query_params["subspace"] = FIRST
    app.query_params["question"] = "Cover a part"
    fine(app.run())
    before = [frame.value for frame in app.dataframe]
    fine(next(s for s in app.slider if s.label == "Rows").set_value((0, 200)).run())
    covered = [frame.value for frame in app.dataframe]
    assert not before[-2].equals(covered[-2])
    assert before[-1].equals(covered[-1])
    fine(next(s for s in app.slider if s.label.startswith("Strength")).set_value(1.0).run())
    assert app.dataframe[-1].value["Δ logit"].abs().max() == 0
