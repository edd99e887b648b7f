"""Measures of faithfulness on networks whose answer is known: a read-out of one region."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ulsam_viz.analysis.faithfulness import (
    BASELINES,
    RANDOM_MAPS,
    Box,
    baseline_maps,
    insertion_and_deletion,
    measure,
    overlap,
    pointing,
    shares_present,
    to_side,
)

SIDE, BOX = 56, Box(8, 30, 24, 46)


class ReadsOneRegion(nn.Module):
    """Two classes; the first one's logit is the mean brightness of a box, scaled so that its probability goes 0 to 1."""

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
    elsewhere = Box(32, 4, 48, 20)
    maps = {"true": region(BOX), "elsewhere": region(elsewhere), "opposite": 1 - region(BOX)}
    scores = measure(model, x, maps, target=0, blank=zero, blurred=zero, box=BOX)
    assert list(scores) == [*maps, *BASELINES]
    by_insertion = sorted(scores, key=lambda name: -scores[name].insertion)
    by_deletion = sorted(scores, key=lambda name: scores[name].deletion)
    assert by_insertion[0] == by_deletion[0] == "true"
    assert by_insertion[-1] == by_deletion[-1] == "opposite"
    assert scores["true"].insertion > 0.9 > 0.1 > scores["true"].deletion
    assert scores["true"].hit
    assert scores["true"].inside == pytest.approx(1)
    assert not scores["elsewhere"].hit
    assert scores["elsewhere"].inside == pytest.approx(0)
    assert all(s.passes == (58 * RANDOM_MAPS if name == "random" else 58) for name, s in scores.items())
    assert min(scores["random"].spread) > 0 == max(scores["centre"].spread)


def test_knowing_nothing_scores_at_chance(setting: tuple[nn.Module, Tensor, Tensor]) -> None:
    """Random and uniform maps insert the region as fast as everything else: half of the curve."""
    model, x, zero = setting
    uniform = insertion_and_deletion(model, x, np.ones((SIDE, SIDE)), target=0, blank=zero, blurred=zero)
    assert uniform == pytest.approx((0.5, 0.5), abs=0.01)
    rng = np.random.default_rng(0)
    random = [
        insertion_and_deletion(model, x, to_side(rng.random((14, 14)), SIDE), target=0, blank=zero, blurred=zero) for _ in range(30)
    ]
    assert np.mean(random, axis=0) == pytest.approx((0.5, 0.5), abs=0.04)
    share = (BOX.bottom - BOX.top) * (BOX.right - BOX.left) / SIDE**2
    _, inside = pointing(baseline_maps(SIDE)["uniform"], BOX)
    assert inside == pytest.approx(share)
    hits = [pointing(rng.random((SIDE, SIDE)), BOX)[0] for _ in range(600)]
    assert np.mean(hits) == pytest.approx(share, abs=0.04)


def test_pixels_come_by_rank_and_equal_ones_together() -> None:
    values = np.array([[3.0, 1.0], [1.0, 0.0]])
    there = shares_present(values, 4)[:, 0].numpy()
    assert there[0].sum() == 0
    assert there[1].tolist() == [[1, 0], [0, 0]]
    assert there[2].tolist() == [[1, 0.5], [0.5, 0]]  # half of both: there is no order between them
    assert there[4].min() == 1
    np.testing.assert_allclose(there.mean((1, 2)), [0, 0.25, 0.5, 0.75, 1])


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
