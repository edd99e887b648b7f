"""Measures of faithfulness on networks whose answer is known: a read-out of one region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ulsam_viz import explain
from ulsam_viz.analysis import faithfulness
from ulsam_viz.analysis.faithfulness import (
    GRIDS,
    ORDERS,
    SMOOTH,
    Box,
    baseline_maps,
    grid_of,
    insertion_and_deletion,
    measure,
    measure_baselines,
    order_of,
    overlap,
    passes_of,
    pointing,
    smooth_random_map,
    to_side,
)
from ulsam_viz.images.preprocessing import Preprocessing
from ulsam_viz.models.network import Network, Placement

SIDE, BOX = 56, Box(8, 30, 24, 46)


class ReadsOneRegion(nn.Module):
    """Two classes; the first one's logit is the mean brightness of a box, scaled so that its probability goes 0 to
    1.
    """

    def forward(self, x: Tensor) -> Tensor:
        mean = x[:, :, BOX.top : BOX.bottom, BOX.left : BOX.right].mean((1, 2, 3))
        return torch.stack([12 * (mean - 0.5), torch.zeros_like(mean)], 1)


@pytest.fixture(scope="module")
def setting() -> tuple[nn.Module, Tensor, Tensor]:
    return ReadsOneRegion().eval(), torch.ones(1, 3, SIDE, SIDE), torch.zeros(1, 3, SIDE, SIDE)


def region(box: Box) -> np.ndarray:
    values = np.zeros((SIDE, SIDE))
    values[box.top : box.bottom, box.left : box.right] = 1
    return values


def test_the_region_that_is_read_comes_first_and_its_opposite_last(setting: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, zero = setting
    sent: list[int] = []
    elsewhere = Box(32, 4, 48, 20)
    maps = {"true": region(BOX), "elsewhere": region(elsewhere), "opposite": 1 - region(BOX)}
    hook = model.register_forward_pre_hook(lambda _, inputs: sent.append(len(inputs[0])))
    scores = measure(model, x, maps, target=0, blank=zero, blurred=zero)
    hook.remove()
    assert list(scores) == list(maps) and sum(sent) == passes_of(len(maps))
    by_insertion = sorted(scores, key=lambda name: -scores[name].insertion)
    by_deletion = sorted(scores, key=lambda name: scores[name].deletion)
    assert by_insertion[0] == by_deletion[0] == "true"
    assert by_insertion[-1] == by_deletion[-1] == "opposite"
    assert scores["true"].insertion > 0.9 > 0.1 > scores["true"].deletion


def test_what_ignores_the_network_scores_at_chance(setting: tuple[nn.Module, Tensor, Tensor]) -> None:
    """Random and uniform maps insert the region as fast as everything else: half of the curve."""
    model, x, zero = setting
    uniform = insertion_and_deletion(model, x, np.ones((SIDE, SIDE)), target=0, blank=zero, blurred=zero)
    assert uniform == pytest.approx((0.5, 0.5), abs=0.02)
    found = measure_baselines(model, x, target=0, blank=zero, blurred=zero)
    assert len(found.orders) == ORDERS and {g: len(scores) for g, scores in found.smooth.items()} == dict.fromkeys(
        GRIDS, SMOOTH
    )
    assert SMOOTH >= 10
    smooth = [score for scores in found.smooth.values() for score in scores]
    for family, within in ((found.orders, 0.02), (smooth, 0.12)):
        assert np.mean([(one.insertion, one.deletion) for one in family], axis=0) == pytest.approx(
            (0.5, 0.5), abs=within
        )
    assert (
        len({one.insertion for one in found.orders}) == ORDERS and len({one.insertion for one in smooth}) == 2 * SMOOTH
    )
    assert {one.grid for one in found.orders} == {None} and found.centre.grid == GRIDS[0]
    assert all({score.grid for score in scores} == {grid} for grid, scores in found.smooth.items())
    assert measure_baselines(model, x, target=0, blank=zero, blurred=zero) == found
    share = (BOX.bottom - BOX.top) * (BOX.right - BOX.left) / SIDE**2
    hit, inside = pointing(baseline_maps(SIDE)["uniform"], BOX)
    assert not hit and inside == pytest.approx(share)
    rng = np.random.default_rng(0)
    hits = [pointing(rng.random((SIDE, SIDE)), BOX)[0] for _ in range(600)]
    assert np.mean(hits) == pytest.approx(share, abs=0.04)


def test_the_box_holds_what_points_into_it() -> None:
    for box, expected in ((BOX, True), (Box(32, 4, 48, 20), False)):
        hit, inside = pointing(region(box), BOX)
        assert hit == expected and inside == pytest.approx(float(expected))


def test_pixels_come_by_rank_and_equal_ones_in_a_random_order() -> None:
    values = np.array([[3.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    orders = [order_of(values, seed) for seed in range(40)]
    assert all(
        sorted(order.ravel()) == [0, 1, 2, 3, 4, 5] and order[0, 0] == 0 and order[1, 1] == 5 for order in orders
    )
    assert {int(order[0, 1]) for order in orders} == {1, 2, 3, 4}
    assert np.array_equal(order_of(values, 3), orders[3])
    flat = np.full((SIDE, SIDE), 1 / 3, np.float32) * (1 + 1e-7 * np.linspace(0, 1, SIDE, dtype=np.float32))
    assert abs(np.corrcoef(order_of(flat).ravel(), np.arange(SIDE**2))[0, 1]) < 0.1  # rounding is no order


@pytest.mark.parametrize("side", [96, 224])
def test_maps_are_smooth_or_as_fine_as_pixels(side: int) -> None:
    def seen(grid: int) -> int | None:
        return grid_of(order_of(smooth_random_map(side, (5, grid), grid=grid)))

    assert [seen(grid) for grid in (4, 7, 14, 28, side)] == [7, 7, 14, None, None]
    blocks = np.kron(np.random.default_rng(1).random((side // 16, side // 16)), np.ones((16, 16)))
    assert grid_of(order_of(blocks)) in GRIDS and grid_of(order_of(np.ones((side, side)))) is None


def test_a_scale_does_not_matter_and_a_picture_is_left_alone(setting: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, zero = setting
    values = to_side(np.random.default_rng(1).random((14, 14)), SIDE)
    before = x.clone()
    a = insertion_and_deletion(model, x, values, target=0, blank=zero, blurred=zero)
    b = insertion_and_deletion(model, x, values * 7 - 3, target=0, blank=zero, blurred=zero)
    assert a == pytest.approx(b, abs=1e-6)
    assert torch.equal(x, before)


def test_overlap_of_the_highest_places() -> None:
    rng = np.random.default_rng(2)
    a = rng.random((14, 14))
    assert overlap(a, a) == 1
    assert overlap(a, -a) == 0
    one = np.zeros((14, 14))
    one[0, 0] = 1
    flat = np.ones((14, 14))
    for values in (a, a[::-1], flat):  # equal values have no order: what is uniform shares what chance does
        assert overlap(values, flat) == pytest.approx(39 / 196)
    assert overlap(one, a) == pytest.approx(overlap(a, one))
    assert np.mean([overlap(a, rng.random((14, 14))) for _ in range(200)]) == pytest.approx(0.2, abs=0.02)


def test_the_baselines_are_measured_once_for_all_layers_and_maps(
    lively: Callable[..., Network], astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, calls = lively("mobilenet_v1", Placement((11, 13), 2)), []

    def counted(*things: Any, **how: Any) -> Any:
        calls.append(how["target"])
        return measure_baselines(*things, **how)

    monkeypatch.setattr(faithfulness, "measure_baselines", counted)
    found = [
        explain(astronaut, network, methods, target, preprocessing=Preprocessing(64)).ask("places")
        for methods, target in ((("saliency",), 2), (("grad_cam",), 2), (("grad_cam",), 3))
    ]
    assert calls == [2, 3]
    assert [topic.part("layer") for topic in found[0] if topic.kind == "faithful"] == [11, 13]
