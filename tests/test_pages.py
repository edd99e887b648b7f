"""The pages Compare and Evidence without a browser."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.patience import PATIENCE
from tests.test_app import fine, text_of
from ulsam_viz.ui.run.scene import network_name
from ulsam_viz.zoo import list_variants, position_name


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


def test_the_lattice_shows_every_group_count_at_a_position() -> None:
    app = page(compare, picture="Coffee cup")
    text = text_of(app)
    for row in ("control", *(f"g = {g}" for g in (1, 2, 4, 8, 16))):
        assert f"<b>{row}</b>" in text
    assert "No attention: the same network" in text
    assert len(re.findall(r"Time here</td><td>[\d.]+ ms \([\d.]+ to [\d.]+\)</td>", text)) == 6
    area = charts(app)[0]
    assert len(area["data"][1]["x"]) == 1 + 2 + 4 + 8 + 16  # a dot a subspace
    accuracy = next(c for c in charts(app) if c["layout"]["yaxis"]["title"]["text"] == "top-1 %")
    low, high = accuracy["layout"]["yaxis"]["range"]
    assert high - low >= 4  # a tenth of a point must not look like a step
    scatter = charts(app)[-1]["data"][0]
    assert max(scatter["y"]) <= 7
    assert len(scatter["x"]) <= 31
    assert not app.error


@pytest.mark.parametrize("g", [1, 8])
def test_positions_are_compared_at_one_group_count(g: int) -> None:
    app = page(compare, way="Positions", g=str(g))
    shown = [v for v in list_variants() if v.backbone == "mobilenet_v1" and v.groups == g]
    layers = sum(len(v.placement.layers) for v in shown if v.placement)
    assert text_of(app).count("Time here") == layers + 1
    assert all(f"<b>{'after' if v.placement and v.placement.mode == 'after' else 'instead'}" in text_of(app) for v in shown)


def test_two_pictures_or_networks_stand_side_by_side_with_their_difference() -> None:
    same = text_of(page(compare, way="Two side by side", second="MobileNet-V1 0.5 with 4 subspaces after layer 11"))
    assert "differences come from the picture alone" in same
    other = page(compare, way="Two side by side", second="MobileNet-V1 0.5 with 8 subspaces after layer 11")
    assert "With 4 and 8 subspaces, only the means" in text_of(other)
    both = list_variants()
    elsewhere = next(v for v in both if v.placement and v.placement.mode == "instead" and v.groups == 4)
    assert "trained apart" in text_of(page(compare, way="Two side by side", second=network_name(elsewhere)))
    fine(other.selectbox(key="second-picture").set_value("Coffee cup").run())
    assert "Coffee cup: " in text_of(other)
    plain = text_of(page(compare, way="Two side by side", second="MobileNet-V1 0.5 (plain control)"))
    assert "The plain control carries no attention." in plain


def test_the_plain_control_alone_compares_nothing() -> None:
    (info,) = page(compare, position="none (plain)").info
    assert "choose a position to compare group counts there" in info.value


def test_evidence_shows_each_variant_and_says_what_differences_mean() -> None:
    app = page(evidence)
    text = text_of(app)
    assert "largest difference is" in text
    assert "What cannot." in text
    of_backbone = [v for v in list_variants() if v.backbone == "mobilenet_v1"]
    maps, cost = (frame.value for frame in app.dataframe[-2:])
    assert len(cost) == len(of_backbone)
    assert len(maps) == sum(len(v.metrics["attention"]) for v in of_backbone)
    assert cost["position"].str.startswith("▸").sum() == 1
    grid = charts(app)[0]["data"][0]["z"]
    placed = [v for v in of_backbone if v.placement]
    with_seeds = {position_name(v) for v in placed if v.repeats}
    assert sum(value is not None for line in grid for value in line) == len(placed) + 5 * len(with_seeds)
    assert max(abs(value) for line in grid[:-1] for value in line) < 0.3  # like is compared with like: seeds alone differ by more


def test_a_visitor_is_told_what_was_computed_on_the_cpu_since_the_gpu_was_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is played on the CPU, where the networks "on" it stay."""
    import torch

    import ulsam_viz.engine as engine

    full = engine.Engine(workers=1)
    real = full._with_network

    def with_network(variant: Any, device: str, *rest: Any) -> Any:
        if device == "cuda" and variant.groups == 2:
            raise torch.cuda.OutOfMemoryError("full")
        return real(variant, device, *rest)

    monkeypatch.setattr("ulsam_viz.models.network.Network.to", lambda self, *_, **__: self)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("ulsam_viz.gpu._try_cuda", lambda: None)
    monkeypatch.setattr(full, "_with_network", with_network)
    monkeypatch.setattr(engine, "_default", full)
    captions = [caption.value for caption in page(compare).caption]
    assert sum("out of memory; this was computed on the CPU" in caption for caption in captions) == 1


def test_times_in_one_table_are_of_one_measurement_and_a_damaged_network_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import ulsam_viz.engine as engine
    from ulsam_viz.cost import Latency
    from ulsam_viz.zoo import CheckpointError, load_network

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
    app = page(evidence)
    (button,) = (b for b in app.button if b.label.startswith("Measure all"))
    fine(button.click().run())
    of_backbone = [v for v in list_variants() if v.backbone == "mobilenet_v1"]
    cost = app.dataframe[-1].value
    assert [[name.split()[0] for name in one] for one in asked] == [[v.name for v in of_backbone[1:]]]
    assert of_backbone[0].name == "mobilenet_v1-0.5-plain"
    times = cost[next(c for c in cost.columns if c.startswith("ms here"))]
    assert times.isna().tolist() == [True] + [False] * (len(of_backbone) - 1)
    assert cost["half of the runs"].tolist()[1:3] == ["0.5 to 1.5", "1.5 to 2.5"]
    assert not any(b.label.startswith("Measure all") for b in app.button)


@pytest.mark.parametrize("whole", [0, 1])
def test_where_networks_are_damaged_the_others_are_compared(whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six, none is whole, or the control alone: then there is nothing to compare, but a reason for each."""
    import ulsam_viz.engine as engine
    from ulsam_viz.zoo import CheckpointError, load_network

    def load(variant: Any) -> Any:
        if variant.placement or not whole:
            raise CheckpointError(f"variant '{variant.name}' cannot be used: damaged")
        return load_network(variant)

    monkeypatch.setattr(engine, "load_network", load)
    monkeypatch.setattr(engine, "_default", engine.Engine(workers=1))
    assert [warning.value.count("damaged") for warning in page(compare).warning] == [1] * (6 - whole)


@pytest.mark.parametrize("show", [compare, evidence])
def test_a_broken_manifest_is_said(show: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ulsam_viz.zoo import CheckpointError

    def broken() -> None:
        raise CheckpointError("the manifest cannot be read")

    monkeypatch.setattr("ulsam_viz.ui.run.page.list_variants", broken)
    assert "There is nothing to show: the manifest cannot be read" in text_of(page(show))
