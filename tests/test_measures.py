"""Numbers about maps, on maps whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest

from ulsam_viz.analysis import measures

UNIFORM = np.full((7, 7), 1 / 49)
POINT = np.zeros((7, 7))
POINT[2, 3] = 1


def _softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits)
    return e / e.sum((-2, -1), keepdims=True)


def test_multiples_of_uniform() -> None:
    maps = _softmax(np.random.default_rng(0).normal(size=(4, 14, 14)))
    relative = measures.relative_attention(maps)
    np.testing.assert_allclose(relative.mean((1, 2)), 1)
    np.testing.assert_allclose(measures.relative_attention(UNIFORM), 1)
    assert measures.peak(POINT) == 49


def test_effective_area_from_one_place_to_all() -> None:
    half = np.zeros((4, 4))
    half[:2] = 1 / 8
    assert measures.effective_area(UNIFORM) == pytest.approx(1)
    assert measures.effective_area(POINT) == pytest.approx(1 / 49)
    assert measures.effective_area(half) == pytest.approx(0.5)


def test_dead_is_uniform_and_nothing_else() -> None:
    nearly = UNIFORM.copy()
    nearly[0, 0] *= 1.01
    assert measures.is_dead(np.stack([UNIFORM, POINT, nearly, UNIFORM.astype(np.float32)])).tolist() == [
        True,
        False,
        False,
        True,
    ]


def test_redundancy_finds_equal_opposite_and_dead() -> None:
    a = np.random.default_rng(1).normal(size=(6, 6)) * 0.01
    maps = np.stack([_softmax(a), _softmax(a), (2 / 36 - _softmax(a)), np.full((6, 6), 1 / 36)])
    matrix = measures.redundancy(maps)
    np.testing.assert_allclose(matrix[:3, :3], [[1, 1, -1], [1, 1, -1], [-1, -1, 1]], atol=1e-9)
    assert np.isnan(matrix[3]).all()
    assert measures.mean_redundancy(maps) == pytest.approx((1 - 1 - 1) / 3)
    assert np.isnan(measures.mean_redundancy(maps[:1]))


def test_agreement_is_spearmans_and_planted_structure_beats_chance() -> None:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:14, :14]
    bump = np.exp(-((y - 4) ** 2 + (x - 9) ** 2) / 6)
    found = measures.agreement(bump, np.sqrt(bump) + 1)  # a monotonous change keeps every rank
    assert found.correlation == pytest.approx(1)
    assert found.above_chance
    ranks = [np.argsort(np.argsort(m.ravel())) for m in (bump + rng.normal(size=(14, 14)), rng.normal(size=(14, 14)))]
    by_hand = np.corrcoef(ranks[0], ranks[1])[0, 1]
    assert measures.agreement(ranks[0].reshape(14, 14), ranks[1].reshape(14, 14)).correlation == pytest.approx(by_hand)
    assert np.isnan(measures.agreement(bump, np.ones((14, 14))).correlation)


def test_unrelated_smooth_maps_lie_above_chance_about_one_time_in_twenty() -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:14, :14]

    def smooth() -> np.ndarray:
        total = np.zeros((14, 14))
        for _ in range(3):
            cy, cx = rng.uniform(0, 14, 2)
            dy, dx = (np.minimum(abs(axis - c), 14 - abs(axis - c)) for axis, c in ((y, cy), (x, cx)))
            total += np.exp(-(dy**2 + dx**2) / 8)
        return total

    above = np.mean([measures.agreement(smooth(), smooth()).above_chance for _ in range(400)])
    assert 0.02 < above < 0.09


def test_ties_share_their_rank() -> None:
    a = np.array([[1.0, 1.0, 2.0, 3.0]])
    b = np.array([[1.0, 2.0, 3.0, 4.0]])
    ranks = np.array([0.5, 0.5, 2, 3])
    assert measures.agreement(a, b).correlation == pytest.approx(np.corrcoef(ranks, np.arange(4))[0, 1])


@pytest.mark.parametrize("frequency", [1, 2, 3, 5])
@pytest.mark.parametrize("side", [14, 28])
def test_the_dominant_frequency_of_a_grating_is_its_own(frequency: int, side: int) -> None:
    axis = np.arange(side) / side
    for waves in (frequency * axis[:, None] + 0 * axis, frequency * axis + 0 * axis[:, None]):
        grating = 1 + 0.8 * np.sin(2 * np.pi * waves)
        assert measures.dominant_frequency(grating / grating.sum()) == frequency


def test_a_wide_blob_is_of_lower_frequency_than_many_small_ones() -> None:
    axis = np.linspace(-1, 1, 28)
    wide = np.exp(-(axis[:, None] ** 2 + axis**2) / 0.5)
    rng = np.random.default_rng(0)
    small = np.exp(3 * rng.standard_normal((28, 28)))
    assert measures.dominant_frequency(wide / wide.sum()) < measures.dominant_frequency(small / small.sum())
    assert np.isnan(measures.dominant_frequency(np.full((14, 14), 1 / 196)))


def test_entropy_is_in_bits() -> None:
    one = np.zeros((8, 8))
    one[3, 4] = 1
    assert measures.entropy(np.full((8, 8), 1 / 64)) == pytest.approx(6)
    assert measures.entropy(one) == pytest.approx(0)
