"""Sentences that judge, with numbers on both sides of each border."""

from __future__ import annotations

import pytest

from ulsam_viz.analysis.faithfulness import Faithfulness
from ulsam_viz.analysis.verdicts import SMALLEST_PROBABILITY, better_than_blind, judge, smallest_logit


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


def scored(insertion: float, deletion: float, spread: tuple[float, float] = (0.0, 0.0)) -> Faithfulness:
    return Faithfulness(insertion, deletion, None, None, 58, spread)


def test_a_map_is_better_only_than_all_that_know_nothing() -> None:
    """Once said on a page: better than the centre, at 0.217 against 0.197, where uniform had 0.299 and random maps scatter by 0.041."""
    blind = {"random": scored(0.2, 0.2, (0.041, 0.02)), "centre": scored(0.197, 0.2), "uniform": scored(0.299, 0.2)}
    assert not better_than_blind(scored(0.217, 0.1), blind)
    assert not better_than_blind(scored(0.38, 0.1), blind)  # above uniform, by less than two deviations
    assert better_than_blind(scored(0.382, 0.1), blind)
    assert not better_than_blind(scored(0.382, 0.161), blind)  # deletion, too
    assert better_than_blind(scored(0.382, 0.159), blind)
    assert not better_than_blind(scored(0.1, 0.1), blind)


def test_where_random_maps_agree_a_lead_must_still_have_a_size() -> None:
    blind = {name: scored(0.2, 0.2) for name in ("random", "centre", "uniform")}
    assert not better_than_blind(scored(0.209, 0.1), blind)
    assert better_than_blind(scored(0.211, 0.1), blind)
    assert not better_than_blind(scored(0.3, 0.191), blind)
