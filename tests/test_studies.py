"""What the experiments show, in words that hold on both sides of every border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.test_evidence import made_up
from ulsam_viz.evidence import experiments as studies
from ulsam_viz.evidence.experiments import Estimate, why_silent
from ulsam_viz.models.network import Placement
from ulsam_viz.zoo.variants import Variant, list_variants


def estimate(mean: float, spread: float = 0.1) -> Estimate:
    return Estimate({0: mean - spread, 1: mean, 2: mean + spread})


def acting(
    name: str, placement: Placement, flips: Sequence[float], top1: Sequence[float] = (77.0, 77.1, 77.2)
) -> Variant:
    """Make up a network whose attention, taken away, changes so many answers; one figure a seed."""

    def effects(share: float) -> dict[str, Any]:
        kinds = {"off": share, "uniform": share / 2, "shuffled": share / 4}
        return {"effects": {kind: {"top1": 77.0, "flips": value, "probability": 0.1} for kind, value in kinds.items()}}

    variant = made_up(name, placement, *top1[: len(flips)])
    repeats = tuple(
        {**record, "metrics": {**record["metrics"], **effects(share)}}
        for record, share in zip(variant.repeats, flips[1:], strict=True)
    )
    return replace(variant, metrics={**variant.metrics, **effects(flips[0])}, repeats=repeats)


def test_an_interval_is_students_over_the_seeds_and_not_below_nothing() -> None:
    low, high = Estimate({0: 4.0, 1: 5.0, 2: 6.0}).interval or (0, 0)
    assert (low, high) == pytest.approx((5 - 4.303 / 3**0.5, 5 + 4.303 / 3**0.5))
    assert (Estimate({0: 0.0, 1: 0.1, 2: 0.2}).interval or (1, 1))[0] == 0.0
    assert Estimate({0: 4.0}).interval is None
    assert str(Estimate({0: 4.0})) == "4.0" and str(Estimate({0: 4.0, 1: 5.0, 2: 6.0})) == "5.0 (2.5 to 7.5)"


def test_an_interval_that_was_cut_at_zero_says_so() -> None:
    assert str(Estimate({0: 5.0, 1: 10.0, 2: 30.0})) == "15.0 (0.0, cut at zero, to 47.9)"
    assert str(Estimate({0: 4.0, 1: 4.0, 2: 4.0})) == "4.0 (4.0 to 4.0)"
    assert str(Estimate({0: 0.0, 1: 0.0})) == "0.0 (0.0 to 0.0)"  # nothing was cut


def test_the_reason_of_silence_is_judged_at_half_of_the_others_effect_and_beyond_chance() -> None:
    assert why_silent([estimate(2.0)], [estimate(5.0)]) == "scale"
    assert why_silent([estimate(2.45, 0.0)], [estimate(5.0, 0.0)]) == "scale"
    assert why_silent([estimate(2.55, 0.0)], [estimate(5.0, 0.0)]) == "training"
    assert why_silent([estimate(2.45, 0.0)], [estimate(5.0, 0.3)]) == "open"  # below half, and yet chance
    assert why_silent([estimate(2.0), estimate(4.0)], [estimate(5.0), estimate(5.0)]) == "open"  # so at one g only
    assert why_silent([Estimate({0: 1.0})], [Estimate({0: 5.0})]) == "open"  # one seed tells no chance


def test_what_follows_from_the_start_is_said_of_both_gains() -> None:
    def said(published: float, normalised: float) -> str:
        plain = made_up("plain", None, 20.0, 20.1, 20.2)
        members = [
            acting(f"{gain}-{g}", Placement((6, 11), g, gain=gain), [share - 0.1, share, share + 0.1])  # type: ignore[arg-type]
            for gain, share in (("published", published), ("normalised", normalised))
            for g in (1, 4)
        ]
        return " ".join(studies.from_the_start([plain, *members]))

    assert "Modules after 6, 11 from the first step, 3 trainings each" in said(1.0, 10.0)
    assert "0.5 (0.4 to 0.6; g = 1), 0.5 (0.4 to 0.6; g = 4) % of the answers change with the published gain" in said(
        1.0, 10.0
    )
    assert "its scale is" in said(1.0, 10.0)
    assert "short fine-tuning is why" in said(8.0, 10.0)
    assert "stays open" in said(4.9, 10.0)
    assert studies.from_the_start([made_up("plain", None, 20.0)]) == ()


def placed(flips_by_g: dict[int, tuple[float, ...]], gain: str = "normalised") -> list[Variant]:
    return [acting(f"{gain}-{g}", Placement((11,), g, gain=gain), flips) for g, flips in flips_by_g.items()]  # type: ignore[arg-type]


def test_g_decides_what_attention_does_only_beyond_chance() -> None:
    apart = studies.g_and_effect(placed({1: (2.0, 2.1, 2.2), 4: (5.0, 5.2, 5.1), 16: (7.0, 7.1, 7.3)}))
    assert "attention does more or less by g" in apart and "largest difference 5.0 points" in apart
    small = studies.g_and_effect(placed({1: (2.0, 2.01, 2.02), 4: (2.97, 2.98, 2.99)}))
    assert "too little to choose g by" in small
    assert "more or less by g" in studies.g_and_effect(placed({1: (2.0, 2.01, 2.02), 4: (3.03, 3.04, 3.05)}))
    alike = studies.g_and_effect(placed({1: (4.0, 5.1, 5.2), 4: (5.0, 4.2, 5.1), 16: (5.3, 5.1, 4.3)}))
    assert "g does not show" in alike
    assert "was not measured" in studies.g_and_effect(placed({1: (2.0,), 4: (5.0,)}))


def test_whether_g_matters_is_one_sentence_of_effect_and_accuracy() -> None:
    apart = placed({1: (2.0, 2.1, 2.2), 16: (7.0, 7.1, 7.3)})
    assert studies.does_g_matter(apart) == (
        "In MobileNet-V1 0.5, fine-tuned with modules after 11, normalised gain, how much attention does depends on g: "
        "taken away, it changes 2.1 % of the answers at g = 1 and 7.1 % at g = 16. Top-1 differs by 0.00 points "
        "between them: within chance."
    )
    assert "g does not show" in studies.does_g_matter(placed({1: (2.0, 2.4, 2.2), 16: (2.3, 2.1, 2.2)}))
    assert "by too little to matter" in studies.does_g_matter(placed({1: (2.0, 2.01, 2.02), 16: (2.5, 2.51, 2.52)}))
    assert studies.does_g_matter(placed({1: (2.0,), 16: (7.0,)})) == ""


def test_what_one_study_finds_of_g_is_set_beside_the_study_that_may_contradict_it() -> None:
    apart = placed({1: (2.0, 2.1, 2.2), 16: (7.0, 7.1, 7.3)})
    scattered = placed({1: (1.0, 30.0, 2.0), 16: (25.0, 3.0, 31.0)})
    alone, contradicted, borne_out = (studies.does_g_matter(apart, start) for start in ((), scattered, apart))
    assert contradicted.startswith(alone) and borne_out.startswith(alone)
    assert (
        "study of attention from the start (MobileNet-V1 0.5, modules after 11, normalised gain) does not bear that out"
        in contradicted
    )
    assert "cut at zero" in contradicted and "points, within chance (" in contradicted
    assert ") bears that out: " in borne_out and "points, beyond chance (" in borne_out
    real = studies.does_g_matter(apart, list_variants(study="start"))
    assert (
        "MobileNet-V1 0.25, modules after 6, 11, normalised gain) does not bear that out: 17.4 (0.0, cut at zero, to "
        "44.2; g = 1)" in real
    )


def test_both_gains_are_set_beside_each_other_where_both_were_trained() -> None:
    zoo = placed({1: (2.0, 2.0, 2.0), 4: (6.0, 6.0, 6.0)}) + placed(
        {1: (0.2, 0.2, 0.2), 4: (0.4, 0.4, 0.4)}, "published"
    )
    (said,) = studies.gain_may_act(zoo)
    assert said.startswith(
        "After 11: attention taken away changes 2.0 to 6.0 % of the answers with the normalised gain, 0.2 to 0.4 % as "
        "published: 10 to 15 times as many."
    )
    assert studies.gain_may_act(placed({1: (0.2, 0.2, 0.2)}, "published")) == ()
    assert studies.gain_may_act(placed({1: (0.2, 0.2, 0.2)})) == ()  # nothing to set it beside


@pytest.mark.parametrize(
    ("below", "spread", "verdict"),
    [(0.01, 0.05, "within chance"), (0.2, 0.001, "too small to matter"), (0.5, 0.001, "+0.50: beyond chance")],
)
def test_accuracy_with_a_free_gain_is_judged_against_its_control(below: float, spread: float, verdict: str) -> None:
    def figures(mean: float, turn: int) -> list[float]:
        return [mean + spread * ((seed + turn) % 3 - 1) for seed in range(3)]

    records = tuple(
        {"name": "plain", "metrics": {"top1": top1, "pictures": 2859}, "made_by": {"recipe": {"seed": seed}}}
        for seed, top1 in enumerate(figures(77.0, 0))
    )
    members = [
        replace(
            acting(f"g{g}", Placement((11,), g, gain="normalised"), (5.0,) * 3, figures(77.0 + below, g)),
            control=records,
        )
        for g in (1, 4)
    ]
    assert verdict in studies.g_and_accuracy(members).partition("To the plain control")[2]


def test_modules_are_named_and_the_one_that_acts_most_is_said() -> None:
    plain = made_up("plain", None, 77.0, 77.1, 77.2)
    ulsam = acting("u", Placement((11,), 4), (0.4, 0.4, 0.4))
    ours = acting("n", Placement((11,), 4, gain="normalised"), (5.0, 5.0, 5.0))
    cbam = acting("c", Placement((11,), 1, module="cbam"), (90.0, 90.0, 90.0))
    compared = studies.modules_compared([plain, ulsam, cbam], [ours])
    assert [studies.module_title(v) for v in compared] == [
        "none (plain control)",
        "ULSAM, g = 4 (WACV 2020)",
        "ULSAM, g = 4, normalised gain (ours)",
        "CBAM (ECCV 2018)",
    ]
    accuracy, effect = studies.modules_in_words(compared)
    assert "no difference can be seen" in accuracy
    assert "CBAM (ECCV 2018) changes the most answers (45.0 %), ULSAM, g = 4 (WACV 2020) the fewest (0.2 %)" in effect
    assert studies.modules_in_words(compared[:1]) == ()
