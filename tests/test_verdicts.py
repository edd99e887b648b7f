"""Sentences that judge, with numbers on both sides of each border."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ulsam_viz.analysis.faithfulness import SMOOTH, Baselines, Faithfulness
from ulsam_viz.analysis.verdicts import SMALLEST_PROBABILITY, bound_of_chance, judge, smallest_logit, stand, standings
from ulsam_viz.questions.describe import baseline_rows, faithful_rows, who_is_better


def test_an_effect_matters_beyond_chance_and_beyond_the_smallest_size() -> None:
    assert judge(-0.05, chance=0.04, smallest=0.05) == "matters"
    assert judge(0.049, chance=0.04, smallest=0.05) == "too small"
    assert judge(0.05, chance=0.051, smallest=0.05) == "within chance"
    assert judge(0.0009, chance=0.0, smallest=smallest_logit(0.69)) == "too small"


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_smallest_logit_moves_no_probability_by_more_than_a_point(temperature: float) -> None:
    from math import exp

    def probability(logit: float) -> float:
        return 1 / (1 + exp(-logit / temperature))

    step = smallest_logit(temperature)
    moved = [probability(at / 100 + step / 2) - probability(at / 100 - step / 2) for at in range(-300, 301)]
    assert 0.99 * SMALLEST_PROBABILITY < max(moved) <= SMALLEST_PROBABILITY


def scored(insertion: float, deletion: float, grid: int | None = 14) -> Faithfulness:
    return Faithfulness(insertion, deletion, grid)


def beside(insertions: list[float], deletions: list[float], orders: tuple[float, float] = (0.1, 0.1)) -> Baselines:
    smooth = tuple(scored(i, d) for i, d in zip(insertions, deletions, strict=True))
    return Baselines(
        tuple(scored(orders[0] + e, orders[1] + e, None) for e in (-0.001, 0.001)), {14: smooth}, scored(0.2, 0.2)
    )


#: Mean 0.3, deviation 0.1: of three values the bound lies at 0.3 + 2.920 * 0.1 * sqrt(4 / 3) = 0.637.
THREE = [0.2, 0.3, 0.4]


def test_a_map_is_better_only_beyond_students_t_and_both_curves_are_judged_by_themselves() -> None:
    assert bound_of_chance(THREE) == pytest.approx(2.920 * 0.1 * math.sqrt(4 / 3), rel=1e-3)
    insertion, deletion = standings(scored(0.636, 0.29), beside(THREE, THREE))
    assert (str(insertion), str(deletion)) == ("1 of 4", "2 of 4")  # best of all, and still within chance
    assert not insertion.better and not deletion.better
    insertion, deletion = standings(scored(0.638, 0.29), beside(THREE, THREE))
    assert insertion.better and not deletion.better
    less = [0.7, 0.8, 0.9]  # the bound of deletion lies at 0.463
    assert [standings(scored(0, d), beside(THREE, less))[1].better for d in (0.464, 0.462)] == [False, True]
    assert str(standings(scored(0.1, 0.95), beside(THREE, less))[0]) == "4 of 4"


def test_what_is_not_smooth_must_be_better_than_random_orders_too() -> None:
    """Scattered pixels delete fast whichever they are: 0.1 against 0.8 of smooth maps is no merit."""
    random = beside(THREE, [0.7, 0.8, 0.9], orders=(0.2, 0.1))
    assert [standings(scored(0.7, 0.099, grid), random)[1].better for grid in (14, None)] == [True, False]
    insertion, deletion = standings(scored(0.7, 0.05, None), random)
    assert insertion.better and deletion.better and (insertion.of, insertion.rank) == (6, 1)
    assert not standings(scored(0.7, 0.05, None), beside(THREE, THREE, orders=(0.71, 0.1)))[0].better


def test_a_map_is_ranked_among_random_maps_as_coarse_as_it_is() -> None:
    fine = beside(THREE, [0.7, 0.8, 0.9])
    coarse = tuple(scored(0.1 + 2 * i, 0.8, 7) for i in THREE)  # mean 0.7, twice as far from it
    random = replace(fine, smooth={7: coarse, **fine.smooth})
    for grid, better, of in ((14, True, 4), (7, False, 4), (None, True, 6)):
        found = standings(scored(0.8, 0.8, grid), random)[0]
        assert (found.better, found.of) == (better, of), grid


def test_where_random_maps_agree_a_lead_must_still_have_a_size() -> None:
    same = beside([0.2, 0.2, 0.2], [0.2, 0.2, 0.2])
    assert [standings(scored(i, 0.2), same)[0].better for i in (0.2, 0.209, 0.211)] == [False, False, True]
    assert standings(scored(0.2, 0.2), same)[0].rank == 4  # what scores the same stands before it


def test_five_of_a_hundred_random_maps_are_called_better() -> None:
    draws = np.random.default_rng(0).normal(0.5, 0.1, (20_000, SMOOTH + 1))
    better = [stand(own, [others]).better for own, *others in draws.tolist()]
    assert np.mean(better) == pytest.approx(0.05, abs=0.006)


def test_the_words_name_the_maps_that_are_better_and_the_centre_where_it_is() -> None:
    random = beside(THREE, [0.7, 0.8, 0.9])
    assert "in insertion no map; in deletion no map." in who_is_better({"a": scored(0.636, 0.464)}, random)
    found = who_is_better({"a": scored(0.638, 0.464), "b": scored(0.638, 0.462), "c": scored(0.7, 0.8)}, random)
    assert "in insertion a (rank 1 of 4), b (rank 1 of 4) and c (rank 1 of 4); in deletion b (rank 1 of 4)" in found
    assert "spot in the centre, which ignores the network, in deletion" in found  # 0.2
    centred = replace(random, centre=scored(0.636, 0.464))
    assert "centre" not in who_is_better({"a": scored(0.638, 0.462)}, centred)
    rows = {row["map"]: row for row in faithful_rows({"a": scored(0.25, 0.75)}, random) + baseline_rows(random)}
    assert list(rows) == [
        "a",
        "spot in the centre",
        "3 random maps of 14 × 14 (mean)",
        "2 random orders of pixels (mean)",
    ]
    assert (rows["a"]["insertion's rank"], rows["a"]["deletion's rank"]) == ("3 of 4", "2 of 4")
    assert rows["3 random maps of 14 × 14 (mean)"]["deletion"] == pytest.approx(0.8)
