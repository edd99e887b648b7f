"""Tiles, scales and charts: what is drawn is what was computed, and nothing is invented."""

from __future__ import annotations

import base64
import io
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import noise
from ulsam_viz.figures import charts, comparisons, tiles
from ulsam_viz.figures.colours import SCALES, SEQUENTIAL, Scale, all_scales, colour_table, scale_maps, subspace_colour
from ulsam_viz.figures.drawing import draw_attribution, draw_map, draw_picture, draw_values, paint
from ulsam_viz.figures.tiles import Display, attention_tile, attribution_tile, value_tile
from ulsam_viz.figures.words import where_it_peaks
from ulsam_viz.images.preprocessing import ModelInput
from ulsam_viz.report.contact_sheet import ColourBar, Panel, Row, as_npz, as_png, flatten
from ulsam_viz.ui.widgets.tiles import as_data
from ulsam_viz.zoo.variants import list_variants

DEAD = np.full((1, 7, 7), 1 / 49, np.float32)
PEAKED = np.full((1, 7, 7), 0.5 / 49, np.float32)
PEAKED[0, 3, 3] += 0.5
MAPS = {11: np.concatenate([DEAD, PEAKED])}
PIXELS = noise((224, 224, 3))


def test_one_scale_for_all_maps_of_all_layers() -> None:
    scaled = scale_maps(MAPS | {13: np.full((2, 4, 4), 1 / 16)}, "uniform")
    assert {(s.low, s.high) for s in scaled.values()} == {(0.25, 8.0)}
    assert scaled[11].values[0] == pytest.approx(1)
    # 1 × uniform has one colour everywhere
    assert scaled[11].fractions[0] == pytest.approx(scaled[13].fractions[0, 0, 0])
    assert scaled[11].values[1].max() == pytest.approx(25)
    assert [label for _, label in scaled[11].ticks] == ["≤ 0.25", "1", "4", "≥ 8"]


@pytest.mark.parametrize("scale", [s for s in SCALES if s != "stretched"])
def test_moving_g_or_changing_the_picture_keeps_the_colour_scale(scale: Scale) -> None:
    """Over all networks of the zoo at a position, for maps as flat and as peaked as can be."""
    grids = {
        "mobilenet_v1": {4: 56, 6: 28, 8: 14, 10: 14, 11: 14, 12: 14, 13: 7},
        "mobilenet_v2": {7: 28, 11: 14, 14: 14, 17: 7},
        "efficientnet_lite0": {6: 28, 9: 14, 12: 14, 16: 7},
    }
    scales: dict[tuple[object, ...], set[object]] = {}
    for variant in (v for v in list_variants() if v.placement):
        assert variant.placement
        for peaked in (False, True):
            maps = {}
            for n in variant.placement.layers:
                side = grids[variant.backbone][n]
                one = np.full((side, side), 1 / side**2)
                if peaked:
                    one = np.eye(side, dtype=float) * np.eye(side)[0]
                maps[n] = np.stack([one] * variant.groups)
            shown = [(n, s.low, s.high, tuple(s.ticks)) for n, s in scale_maps(maps, scale).items()]
            scales.setdefault((variant.backbone, variant.placement.mode, variant.placement.layers), set()).add(
                tuple(shown)
            )
    assert len(scales) >= 15
    assert {len(seen) for seen in scales.values()} == {1}


@pytest.mark.parametrize(("side", "end"), [(7, 8), (14, 16), (28, 32), (56, 64)])
def test_peaks_up_to_the_scales_end_have_colours_of_their_own(side: int, end: int) -> None:
    maps = np.full((3, side, side), 1 / side**2)
    maps[:, 0, 0] = np.array([end / 2, end, 2 * end]) / side**2
    for scale in ("uniform", "raw", "gain"):
        colours = scale_maps({0: maps}, scale)[0].fractions[:, 0, 0]  # type: ignore[arg-type]
        assert colours[0] < 0.9
        assert colours[1:] == pytest.approx(1)


def test_raw_maps_of_several_networks_share_one_scale() -> None:
    weak, strong = np.full((1, 4, 4), 1 / 16), np.array([[[0.1, 0.2], [0.3, 0.4]]])
    assert [s.high for s in scale_maps({0: weak, 1: strong}, "raw").values()] == [0.25, 0.5]
    assert [s.high for s in scale_maps({0: weak, 1: strong}, "raw", shared=True).values()] == [0.5, 0.5]


def test_a_dead_map_stays_flat_on_every_scale() -> None:
    for scale in SCALES:
        fractions = scale_maps(MAPS, scale)[11].fractions
        assert np.ptp(fractions[0]) < 1e-6
        assert np.ptp(fractions[1]) > 0.5


def test_only_min_max_stretches() -> None:
    gentle = {11: (1 + 0.02 * np.random.default_rng(0).normal(size=(1, 14, 14))) / 196}
    spans = {scale: float(np.ptp(scale_maps(gentle, scale)[11].fractions)) for scale in SCALES}
    assert spans["stretched"] == 1
    assert spans["uniform"] < 0.15


def test_tiles_show_the_map_where_it_is() -> None:
    fractions = np.zeros((4, 4))
    fractions[1, 2] = 1
    tile = tiles.attention_tile(PIXELS, fractions, tiles.Display("viridis", 1.0, smooth=False))
    table = colour_table("viridis")
    assert (tile[56:112, 112:168] == table[255]).all()
    assert (tile[:56] == table[0]).all()
    invisible = tiles.attention_tile(PIXELS, fractions, tiles.Display("viridis", 0.0))
    assert (invisible[..., 0] == invisible[..., 1]).all()  # the grey picture alone
    smooth = tiles.attention_tile(PIXELS, fractions, tiles.Display("viridis", 1.0, smooth=True))
    assert len(np.unique(smooth.reshape(-1, 3), axis=0)) > 50


def test_signed_attributions_are_red_for_and_blue_against() -> None:
    values = np.zeros((224, 224), np.float32)
    values[:100], values[150:] = 1, -1
    tile = tiles.attribution_tile(
        PIXELS, values, tiles.attribution_limit(values), tiles.Display(opacity=1.0), signed=True
    ).astype(int)
    assert (tile[:100, :, 0] > tile[:100, :, 2]).all()
    assert (tile[150:, :, 2] > tile[150:, :, 0]).all()
    assert (np.ptp(tile[110:140], axis=-1) == 0).all()  # at 0 the grey picture shows


def test_blend_takes_the_strongest_subspace() -> None:
    relative = np.ones((2, 4, 4))
    relative[0, :2], relative[1, 2:] = 6, 6
    hues = ["#ff0000", "#0000ff"]
    tile = tiles.blend_tile(PIXELS, relative, hues, tiles.Display(opacity=1.0))
    assert (tile[:112] == [255, 0, 0]).all()
    assert (tile[112:] == [0, 0, 255]).all()


def test_hues_are_distinct_and_children_stand_beside_their_parent() -> None:
    def hue(colour: str) -> float:
        import colorsys

        return colorsys.rgb_to_hsv(*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)))[0]

    for g in (1, 2, 4, 8, 16):
        assert len({subspace_colour(k, g) for k in range(g)}) == g
    parent, left, right = hue(subspace_colour(1, 4)), hue(subspace_colour(2, 8)), hue(subspace_colour(3, 8))
    assert min(left, right) < parent < max(left, right)


def test_block_means() -> None:
    values = np.arange(16.0).reshape(4, 4)
    assert tiles.block_means(values, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]
    with pytest.raises(ValueError, match="does not divide"):
        tiles.block_means(values, 3)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_colour_scales_rise_evenly_in_lightness(name: str) -> None:
    lightness = colour_table(name) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness[::8]) > 0).all()


def test_charts_are_valid_plotly_and_say_their_numbers() -> None:
    import plotly.graph_objects as go

    matrix = np.array([[1.0, np.nan], [-0.25, 0.5]])
    figures = [
        charts.correlation_matrix(matrix, ["S1", "S2"], ["a", "b"], notes=[["x", "y"], ["z", "w"]]),
    ]
    for figure in figures:
        go.Figure(figure.to_dict())  # validates what was built without validation
        json.loads(figure.to_json())
    assert figures[0].data[0].z[0] == [1.0, None]


DISPLAY = Display(opacity=0.5)


def test_a_map_is_painted_on_each_scale_as_its_fractions_say() -> None:
    crop = ModelInput(PIXELS, "noise", torch.zeros(1))
    scales = all_scales(MAPS)[11]
    drawing = draw_map(scales, 1, crop)
    for name in SCALES:
        scaled = scales[name]
        expected = attention_tile(PIXELS, scale_maps(MAPS, name)[11].fractions[1], DISPLAY)
        assert (paint(drawing, DISPLAY, name) == expected).all()
        assert scaled.values[1] == pytest.approx(scale_maps(MAPS, name)[11].values[1])


def test_other_kinds_are_painted_as_files_are() -> None:
    crop = ModelInput(PIXELS, "noise", torch.zeros(1))
    side = len(PIXELS)
    values = np.linspace(-1, 2, side * side, dtype=np.float32).reshape(side, side)
    for signed in (True, False):
        drawn = paint(draw_attribution(values, 1.5, crop, signed=signed), DISPLAY)
        assert (drawn == attribution_tile(PIXELS, values, 1.5, DISPLAY, signed=signed)).all()
    assert (paint(draw_picture(crop), DISPLAY) == PIXELS).all()
    assert (paint(draw_values(values), DISPLAY) == value_tile(values, DISPLAY)).all()


def test_the_browser_gets_the_numbers_themselves_or_within_a_32767th() -> None:
    crop = ModelInput(PIXELS, "noise", torch.zeros(1))
    few = as_data(draw_map(all_scales(MAPS)[11], 0, crop))
    assert (np.frombuffer(base64.b64decode(few["values"]), "<f4") == MAPS[11][0].ravel()).all()
    assert few["step"] is None
    values = np.random.default_rng(0).normal(size=(80, 80)).astype(np.float32)
    many = as_data(draw_attribution(values, 1, crop, signed=True))
    read = np.frombuffer(base64.b64decode(many["values"]), "<i2") * many["step"]
    assert abs(read - values.ravel()).max() <= abs(values).max() / 32767
    assert as_data(draw_attribution(np.zeros((80, 80), np.float32), 0, crop, signed=True))["values"]


def test_words_say_where_a_map_peaks() -> None:
    maps = np.full((3, 6, 6), 1 / 36, np.float32)
    maps[1, 0, 5], maps[2, 2, 3] = 0.5, 0.5
    assert where_it_peaks(maps[0]) == "uniform, no place is preferred"
    assert where_it_peaks(maps[1]) == "peaks at the top right (row 0, column 5), 18.0 times uniform"
    assert where_it_peaks(maps[2]).startswith("peaks at the centre (row 2, column 3)")


def test_error_bars_stand_out_on_the_light_and_on_the_dark_background() -> None:
    theme = tomllib.loads((Path(__file__).parent.parent / ".streamlit" / "config.toml").read_text())["theme"]
    bars = comparisons.diverging_bars(["a"], [1.0], spreads=[0.5], colours=["#2f6f8f"], noise=None, unit="logit").data[
        0
    ]

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for name in ("light", "dark"):
        low, high = sorted([luminance(bars.error_x.color), luminance(theme[name]["backgroundColor"])])
        assert (high + 0.05) / (low + 0.05) >= 3  # WCAG's contrast of graphical objects


def test_exports_can_be_read_back() -> None:
    png = as_png("title", ["line"], [Row("row", [Panel(f"p{i}", "note", PIXELS) for i in range(10)])])
    image = Image.open(io.BytesIO(png))
    assert image.width > 8 * 224
    assert image.height > 2 * 224
    archive = np.load(
        io.BytesIO(as_npz({"attention_11": MAPS[11]}, {"variant": "v", "delta": None})), allow_pickle=False
    )
    assert np.array_equal(archive["attention_11"], MAPS[11])
    assert json.loads(str(archive["settings"])) == {"variant": "v", "delta": None}


def test_a_picture_for_export_says_which_colour_means_what_and_where_it_is_from() -> None:
    table, address = colour_table("magma"), "http://localhost:8501/?" + "picture=Coffee+cup&g=8&" * 12
    bar = ColourBar(table, [(0.0, "≤ 0.25"), (1.0, "16")], "× uniform")
    row = Row("Attention", [Panel("Subspace 1", "peak 3.0×", PIXELS, subspace_colour(0, 4))], [bar])
    image = Image.open(io.BytesIO(as_png("title", [], [row], address=address)))
    assert image.info["Source"] == address
    colours = {tuple(colour) for colour in np.asarray(image).reshape(-1, 3)}
    assert {tuple(colour) for colour in table} <= colours
    assert tuple(int(subspace_colour(0, 4)[i : i + 2], 16) for i in (1, 3, 5)) in colours
    short = Image.open(io.BytesIO(as_png("title", [], [row], address=address[:40])))
    assert image.height > short.height  # a long address is broken, not cut


def test_the_font_of_exports_has_every_sign_that_they_write() -> None:
    from ulsam_viz.report.contact_sheet import _font

    nothing = bytes(_font(15).getmask("\uffff"))
    assert [sign for sign in "×±−≤·“”…éüß°μ" if bytes(_font(15).getmask(sign)) == nothing] == []


def test_lists_in_an_archive_count_from_1() -> None:
    arrays: dict[str, np.ndarray] = {}
    assert flatten([DEAD, PEAKED], "maps", arrays) == [{"array": "maps.1"}, {"array": "maps.2"}]
    assert arrays["maps.2"] is PEAKED
