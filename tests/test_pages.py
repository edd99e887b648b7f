"""The pages Compare and Evidence without a browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.components import mounted
from tests.patience import PATIENCE
from tests.test_app import fine, text_of
from ulsam_viz.zoo.variants import list_variants, position_name


def compare() -> None:
    from ulsam_viz.ui.compare import page as compare_page

    compare_page.show()


def evidence() -> None:
    from ulsam_viz.ui.evidence import page as evidence_page

    evidence_page.show()


def page(show: Any, **query: str) -> AppTest:
    app = AppTest.from_function(show, default_timeout=PATIENCE)
    app.query_params["net"] = "V1-0.5"  # a fast one
    for key, value in query.items():
        app.query_params[key] = value
    return fine(app.run())


def charts(app: AppTest) -> list[dict[str, Any]]:
    return [json.loads(c.proto.spec) for c in app.get("plotly_chart")]


def lattice(app: AppTest) -> list[dict[str, Any]]:
    return [row for row in mounted(app, "tiles") if row["span"]]


def test_the_lattice_shows_every_group_count_at_a_position() -> None:
    app = page(compare, picture="Coffee cup")
    rows = lattice(app)
    assert [len(row["tiles"]) for row in rows] == [1, 2, 4, 8, 16]
    assert all(re.fullmatch(rf"g = {len(row['tiles'])} · .+ [\d.]+%", row["heading"]) for row in rows)
    assert all(
        not tile["note"] and "area" in tile["title"] and tile["selectable"] for row in rows for tile in row["tiles"]
    )
    assert [bool(row["legend"]) for row in rows] == [True] + [False] * 4  # one scale for all
    (table,) = (frame.value for frame in app.dataframe)
    assert table["network"].tolist() == ["control", *(f"g = {g}" for g in (1, 2, 4, 8, 16))]
    assert table["time"].notna().all()
    area = charts(app)[0]
    assert len(area["data"][1]["x"]) == 1 + 2 + 4 + 8 + 16  # a dot a subspace
    accuracy = next(c for c in charts(app) if c["layout"]["yaxis"]["title"]["text"] == "top-1 %")
    low, high = accuracy["layout"]["yaxis"]["range"]
    assert high - low >= 4  # a tenth of a point must not look like a step
    scatter = charts(app)[-1]["data"][0]
    assert max(scatter["y"]) <= 7
    assert len(scatter["x"]) <= 31
    assert not app.error


def test_a_chart_without_a_difference_is_one_sentence() -> None:
    from ulsam_viz.ui.compare.numbers import Plot

    def sentence(*values: float) -> str:
        return Plot("Traffic", 20, "MB", [""] * len(values), [[v] for v in values], "").constant

    assert sentence(9, 9, 9) == "**Traffic**: 9 MB, all alike."
    assert sentence(9, 9.5) == "**Traffic**: 9 to 9.5 MB, all alike."
    assert sentence(9, 11) == ""
    assert sentence(float("nan")) == "**Traffic**: not defined for one map alone."


@pytest.mark.parametrize("g", [1, 8])
def test_positions_are_compared_at_one_group_count(g: int) -> None:
    app = page(compare, way="positions", g=str(g))
    shown = [v for v in list_variants() if v.backbone == "mobilenet_v1" and v.groups == g]
    layers = sum(len(v.placement.layers) for v in shown if v.placement)
    assert [len(row["tiles"]) for row in lattice(app)] == [g] * layers
    assert len(app.dataframe[0].value) == len(shown) + 1  # and the control


def test_two_pictures_or_networks_stand_side_by_side_with_their_difference() -> None:
    def two(**second: str) -> AppTest:
        return page(compare, way="two", **{f"second-{name}": value for name, value in second.items()})

    def sides(app: AppTest) -> list[list[dict[str, Any]]]:
        return [
            row["tiles"] for row in mounted(app, "tiles") if row["tiles"] and re.match(r"[01]\.", row["tiles"][0]["id"])
        ]

    def row(app: AppTest, first: str) -> dict[str, Any]:
        return next(row for row in mounted(app, "tiles") if row["tiles"] and row["tiles"][0]["id"] == first)

    same = two(g="4")
    assert "differences come from the picture alone" in text_of(same)
    assert all(tile["mark"] is None for side in sides(same) for tile in side)  # nothing differs
    other = two(g="8")
    assert "With 4 and 8 subspaces, only the means" in text_of(other)
    assert [len(side) for side in sides(other)] == [4, 8]
    marks = {tuple(tile["mark"]) for side in sides(other) for tile in side}
    assert marks == {tuple(row(other, "difference-0")["tiles"][0]["mark"])}  # where the means differ most, on both
    over = row(other, "over-0")
    assert over["swipe"] == ["after 11, g = 4", "after 11, g = 8"]
    assert over["tiles"][0]["over"]["values"] != over["tiles"][0]["drawing"]["values"]
    apart = two(position="instead 10", g="4")
    assert "trained apart" in text_of(apart)
    if any(tile["mark"] for tile in sides(apart)[0]):  # one grid: each subspace has its own place
        assert [tile["mark"] for tile in sides(apart)[0]] == [tile["mark"] for tile in sides(apart)[1]]
    fine(same.selectbox(key="second-picture").set_value("Cat").run())
    assert row(same, "over-0")["swipe"] == ["Coffee cup", "Cat"]
    assert any(tile["mark"] for tile in sides(same)[0])
    plain = two(position="none (plain)")
    assert "The plain control carries no attention." in text_of(plain)


def test_an_older_address_of_two_opens_the_same_networks() -> None:
    app = page(compare, way="Two side by side", second="MobileNet-V1 0.5 with 16 subspaces after layer 11")
    assert app.select_slider(key="second-g").value == 16
    assert app.select_slider(key="second-position").value == "after-11"


def test_the_plain_control_alone_compares_nothing() -> None:
    (info,) = page(compare, position="none (plain)").info
    assert "choose a position to compare group counts there" in info.value


def open_evidence(**query: str) -> AppTest:
    """Show the page Evidence with its cost open, where it is counted."""
    app = AppTest.from_function(evidence, default_timeout=PATIENCE)
    app.session_state["evidence-cost"] = True
    app.query_params["net"] = "V1-0.5"
    for key, value in query.items():
        app.query_params[key] = value
    return fine(app.run())


TABLES = ("accuracy", "effects", "maps", "cost", "paper")


def tables(app: AppTest) -> dict[str, Any]:
    frames = [frame.value for frame in app.dataframe]
    return dict(zip(TABLES, frames, strict=True))


def test_evidence_says_first_what_can_be_concluded_and_what_not() -> None:
    app = page(evidence)
    heading, *sentences = (m.value for m in app.markdown[:4])
    assert heading == "### What can be concluded, and what not"
    assert [s.partition(" ")[0] for s in sentences] == ["After", "All", "It"]
    assert len(app.dataframe) == len(TABLES) - 1  # the cost is counted only for those who open it
    assert not any(box.proto.expanded for box in app.expander)


@pytest.mark.parametrize("position", ["after 11", "instead 10", "none (plain)"])
def test_tables_are_whole_sort_by_number_and_mark_the_chosen_network(position: str) -> None:
    shown = tables(open_evidence(position=position))
    of_backbone = [v for v in list_variants() if v.backbone == "mobilenet_v1"]
    placed = [v for v in of_backbone if v.placement]
    maps = sum(len(v.metrics["attention"]) for v in placed)
    rows = {"accuracy": len(of_backbone), "effects": len(placed), "maps": maps, "cost": len(of_backbone), "paper": 25}
    assert {name: len(table) for name, table in shown.items()} == rows
    plain = position.startswith("none")
    for name, table in shown.items():
        marked = table[table["shown"] != ""]
        missing = (name == "paper" and not position.startswith("after")) or (name in ("effects", "maps") and plain)
        assert len(marked) == (0 if missing else 1), name
        assert all(marked["position"].str.startswith(position.split(" ")[0]))
        assert missing or plain or marked["g"].tolist() == [4]
        words = {"shown", "position", "network"}
        assert all(table[column].dtype.kind in "if" for column in table.columns if column not in words), name


def test_charts_compare_like_with_like_and_mark_the_chosen_network() -> None:
    grid, dots = charts(page(evidence))
    placed = [v for v in list_variants() if v.backbone == "mobilenet_v1" and v.placement and v.gain == "published"]
    z = grid["data"][0]["z"]
    assert sum(value is not None for line in z for value in line) == len(placed) + len(
        {position_name(v) for v in placed}
    )
    names = grid["layout"]["yaxis"]["ticktext"]
    published = [line for line, name in zip(z, names, strict=True) if name.replace(", ", "").isdigit()]
    assert len(published) == 7
    # Like is compared with like: seeds alone differ by more
    assert max(abs(value) for line in published for value in line) < 0.3
    assert len(grid["layout"]["shapes"]) == 1
    (row,) = (i for i, name in enumerate(grid["layout"]["yaxis"]["ticktext"]) if name == "11")
    frame = grid["layout"]["shapes"][0]
    assert (frame["x0"] + 0.5, frame["y0"] + 0.5) == (3, row)  # none, 1, 2, 4
    large = [
        text for text, size in zip(dots["data"][0]["text"], dots["data"][0]["marker"]["size"], strict=True) if size > 7
    ]
    assert len(large) == 3 and all(text.startswith("11, g = 4: ") for text in large)


def test_the_plain_control_is_marked_where_it_is_the_control() -> None:
    grid, dots = charts(page(evidence, position="none (plain)"))
    # Modules that replace a layer, or have the normalised gain, have another control
    names = grid["layout"]["yaxis"]["ticktext"]
    after = sum(name.replace(", ", "").isdigit() for name in names)
    assert [shape["x0"] for shape in grid["layout"]["shapes"]] == [-0.5] * after
    assert sum(shape["line"]["width"] == 3 for shape in dots["layout"]["shapes"]) == after


@pytest.mark.parametrize(("top1", "drawn"), [(77.04, 0), (77.06, 2)])
def test_charts_in_which_all_is_alike_are_one_sentence(
    top1: float, drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    zoo = [
        replace(v, metrics={**v.metrics, "top1": top1 if v.groups == 8 else 77.0}, repeats=())
        for v in list_variants()
        if v.backbone == "mobilenet_v1"
        and v.gain == "published"
        and (v.placement is None or v.placement.layers == (11,))
    ]
    monkeypatch.setattr("ulsam_viz.ui.run.page.list_variants", lambda: zoo)
    app = page(evidence)
    assert len(charts(app)) == drawn
    assert ("in every training run: 77.0 %." in text_of(app)) == (not drawn)


def test_a_visitor_is_told_what_was_computed_on_the_cpu_since_the_gpu_was_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is played on the CPU, where the networks "on" it stay."""
    import torch

    import ulsam_viz.engine.engine as engine

    full = engine.Engine(workers=1)
    real = full._with_network

    def with_network(variant: Any, device: str, *rest: Any) -> Any:
        if device == "cuda" and variant.groups == 2:
            raise torch.cuda.OutOfMemoryError("full")
        return real(variant, device, *rest)

    monkeypatch.setattr("ulsam_viz.models.network.Network.to", lambda self, *_, **__: self)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("ulsam_viz.engine.devices._try_cuda", lambda: None)
    monkeypatch.setattr(full, "_with_network", with_network)
    monkeypatch.setattr(engine, "_default", full)
    captions = [caption.value for caption in page(compare).caption]
    assert sum("out of memory; this was computed on the CPU" in caption for caption in captions) == 1


def test_times_in_one_table_are_of_one_measurement_and_a_damaged_network_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ulsam_viz.engine.engine as engine
    from ulsam_viz.models.cost import Latency
    from ulsam_viz.zoo.variants import CheckpointError, load_network

    asked: list[list[str]] = []

    def load(variant: Any) -> Any:
        if variant.name == "mobilenet_v1-0.5-plain":
            raise CheckpointError("damaged")
        return load_network(variant)

    def measure(models: dict[str, Any], *, pause: Any) -> dict[str, Latency]:
        asked.append(list(models))
        return {name: Latency(i, i - 0.5, i + 0.5) for i, name in enumerate(models, 1)}

    monkeypatch.setattr(engine, "load_network", load)
    monkeypatch.setattr(engine, "measure_latencies", measure)
    monkeypatch.setattr(engine, "_default", engine.Engine(workers=1))
    app = open_evidence()
    (button,) = (b for b in app.button if b.label.startswith("Measure all"))
    fine(button.click().run())
    of_backbone = [v for v in list_variants() if v.backbone == "mobilenet_v1"]
    cost = tables(app)["cost"]
    assert [[name.split()[0] for name in one] for one in asked] == [[v.name for v in of_backbone[1:]]]
    assert of_backbone[0].name == "mobilenet_v1-0.5-plain"
    times = cost[next(c for c in cost.columns if c.startswith("ms here"))]
    assert times.isna().tolist() == [True] + [False] * (len(of_backbone) - 1)
    assert cost[["from", "to"]].to_numpy().tolist()[1:3] == [[0.5, 1.5], [1.5, 2.5]]
    assert not any(b.label.startswith("Measure all") for b in app.button)


@pytest.mark.parametrize("whole", [0, 1])
def test_where_networks_are_damaged_the_others_are_compared(whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six, none is whole, or the control alone: then there is nothing to compare, but a reason for each."""
    import ulsam_viz.engine.engine as engine
    from ulsam_viz.zoo.variants import CheckpointError, load_network

    def load(variant: Any) -> Any:
        if variant.placement or not whole:
            raise CheckpointError(f"variant '{variant.name}' cannot be used: damaged")
        return load_network(variant)

    monkeypatch.setattr(engine, "load_network", load)
    monkeypatch.setattr(engine, "_default", engine.Engine(workers=1))
    assert [warning.value.count("damaged") for warning in page(compare).warning] == [1] * (6 - whole)


@pytest.mark.parametrize("show", [compare, evidence])
def test_a_broken_manifest_is_said(show: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ulsam_viz.zoo.variants import CheckpointError

    def broken() -> None:
        raise CheckpointError("the manifest cannot be read")

    monkeypatch.setattr("ulsam_viz.ui.run.page.list_variants", broken)
    assert "There is nothing to show: the manifest cannot be read" in text_of(page(show))


def test_pandas_is_whole_before_a_page_draws() -> None:
    """Plotly uses it wherever another thread has begun to import it; a soak of visitors on a fresh server met that."""
    command = "import sys, ulsam_viz.ui.run_page; assert hasattr(sys.modules['pandas'], 'Series')"
    subprocess.run([sys.executable, "-c", command], check=True)
