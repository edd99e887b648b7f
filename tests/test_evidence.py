"""What the zoo's figures say: means, spreads, and differences told from chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ulsam_viz.cli.program import main
from ulsam_viz.evidence import paper
from ulsam_viz.evidence.statistics import (
    SMALLEST_TOP1,
    Accuracy,
    Comparison,
    accuracy_of,
    by_backbone,
    by_position,
    compare,
    conclusions,
    control_of,
    difference,
    elsewhere,
    finding,
    findings,
    in_words,
    noise_of_differences,
    seed_spread,
    trained_anew,
    what_attention_does,
)
from ulsam_viz.evidence.tables import map_table
from ulsam_viz.models.network import Placement
from ulsam_viz.zoo.variants import Variant, list_variants

ROOT = Path(__file__).parent.parent


def made_up(name: str, placement: Placement | None, *top1: float) -> Variant:
    """A variant with these accuracies over seeds; everything else from a real one."""
    real = list_variants()[0]
    repeats = tuple(
        {"name": name, "metrics": {"top1": t, "pictures": 2859}, "made_by": {"recipe": {"seed": i}}}
        for i, t in enumerate(top1[1:], start=1)
    )
    return replace(
        real,
        name=name,
        placement=placement,
        metrics={**real.metrics, "top1": top1[0], "attention": {}},
        repeats=repeats,
    )


def test_accuracy_is_the_mean_over_seeds_with_their_spread() -> None:
    accuracy = accuracy_of(made_up("a", None, 77.0, 78.0, 79.0))
    assert (accuracy.mean, accuracy.spread, str(accuracy)) == (78.0, 1.0, "77.0 (3 seeds: 78.0 ± 1.0)")
    alone = accuracy_of(made_up("b", None, 77.0))
    assert (alone.spread, str(alone)) == (None, "77.0")
    assert alone.standard_error == pytest.approx(100 * np.sqrt(0.77 * 0.23 / alone_pictures(alone)), rel=1e-6)


def alone_pictures(_: object) -> int:
    return int(list_variants()[0].metrics["pictures"])


def test_the_spread_over_seeds_is_pooled_within_variants() -> None:
    """Differences between variants must not count as noise."""
    spread = seed_spread([made_up("a", None, 70, 71, 72), made_up("b", None, 90, 92), made_up("c", None, 10)])
    assert spread is not None
    assert spread.freedom == 3
    assert spread.deviation == pytest.approx(np.sqrt((2 * 1.0 + 1 * 2.0) / 3))
    assert seed_spread([made_up("a", None, 70)]) is None
    assert trained_anew(
        [made_up("a", None, 70, 71), made_up("b", Placement((11,), 2), 70, 71), made_up("c", None, 70)]
    ) == ("MobileNet-V1 0.5, plain and after 11")


def test_what_a_seed_does_to_all_variants_is_no_noise_of_their_differences() -> None:
    together = [
        made_up(n, None, *(base + seed for seed in (0.0, 1.0, -2.0)))
        for n, base in (("a", 77.0), ("b", 78.0), ("c", 76.0))
    ]
    noise = noise_of_differences(together)
    assert noise is not None
    assert noise.deviation == pytest.approx(0, abs=1e-9)
    assert noise.freedom == 4
    spread = seed_spread(together)
    assert spread is not None
    assert spread.deviation > 1.5
    a, late = accuracy_of(together[0]), Accuracy({0: 77.5}, 0.8)
    assert difference(late, a) == pytest.approx(0.5)  # over seed 0 alone
    assert noise_of_differences(together[:1]) is None  # one network's seeds tell nothing of differences


def test_differences_are_told_from_chance_as_tukeys_table_does() -> None:
    """Studentized range, 95 %: 4.91 for 6 means and 10 degrees of freedom, 3.88 for 3 and 10."""
    row = [0.0, np.sqrt(2), np.sqrt(0.5)]
    groups = [made_up(f"v{i}", Placement((11,), 2), *(77 + row[(i + j) % 3] for j in range(3))) for i in range(6)]
    noise = noise_of_differences(groups)
    assert noise is not None
    assert noise.freedom == 10
    assert noise.deviation == pytest.approx(np.sqrt(6 * 2 * np.var(row, ddof=1) / 10))
    for k, quantile in ((6, 4.91), (3, 3.88)):
        by_chance = compare([accuracy_of(v) for v in groups[:k]], noise).by_chance
        assert by_chance == pytest.approx(quantile * noise.deviation / np.sqrt(3), rel=0.02)


def test_equal_variants_are_found_equal_19_times_in_20_and_unequal_ones_are_found() -> None:
    rng = np.random.default_rng(3)
    false_alarms = found = 0
    for _ in range(200):
        chance = rng.normal(0, 0.3, (6, 3)) + rng.normal(0, 2, (1, 3))  # and what each seed does to all
        equal = [made_up(f"v{i}", Placement((11,), 2), *(77 + line)) for i, line in enumerate(chance)]
        false_alarms += compare([accuracy_of(v) for v in equal], noise_of_differences(equal)).beyond_chance
        unequal = [*equal[:5], made_up("worse", Placement((11,), 2), *(75.5 + chance[5]))]
        found += compare([accuracy_of(v) for v in unequal], noise_of_differences(unequal)).beyond_chance
    assert 2 <= false_alarms <= 20
    assert found == 200


def test_words_follow_the_figures() -> None:
    a, b, c = (made_up(n, None, *t) for n, t in (("a", (77.0, 77.2)), ("b", (77.2, 77.3)), ("c", (70.0, 70.2))))

    def words(*variants: Variant) -> str:
        return in_words(compare([accuracy_of(v) for v in variants], noise_of_differences(variants)))

    assert "no difference can be seen" in words(a, b)
    assert "more than other seeds" in words(a, c)
    assert "one seed each" in words(made_up("d", None, 77.0), made_up("e", None, 78.0))


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.89, "no difference can be seen"), (0.91, "borderline"), (0.99, "borderline"), (1.01, "more than other seeds")],
)
def test_a_difference_close_to_chance_is_called_borderline(share: float, said: str) -> None:
    found = Comparison(share * 1.41, 1.41)
    assert said in in_words(found)
    assert found.borderline == (said == "borderline")
    assert found.judged(SMALLEST_TOP1) == {"b": "borderline", "m": "matters", "n": "within chance"}[said[0]]
    assert not Comparison(share * 1.41, None).borderline


def test_a_base_that_nobody_trained_here_is_the_same_for_every_seed() -> None:
    """Differences to it, and those among the others, are over all their seeds; it adds no chance of its own."""
    base = replace(made_up("plain", None, 84.6), base="efficientnet_lite0")
    own = [
        made_up(f"g{g}", Placement((12,), g), *top1) for g, top1 in ((1, (84.8, 85.0, 85.2)), (4, (84.6, 84.2, 84.6)))
    ]
    control = control_of(own[0], [base, *own])
    assert control and control.of_any_seed and str(control) == "84.6"
    assert difference(accuracy_of(own[0]), control) == pytest.approx(0.4)
    noise = noise_of_differences([base, *own])
    with_it, among = (compare([*more, *map(accuracy_of, own)], noise) for more in ((control,), ()))
    assert with_it.largest == pytest.approx(85.0 - 253.4 / 3)  # not seed 0's 0.2
    assert with_it.by_chance is not None and among.by_chance is not None
    three = compare(
        [replace(control, of_any_seed=False, by_seed={0: 84.6, 1: 84.6, 2: 84.6}), *map(accuracy_of, own)], noise
    )
    assert three.by_chance is not None and among.by_chance < with_it.by_chance < three.by_chance


def test_the_seeds_of_the_frozen_base_are_all_used() -> None:
    """The card's sentence for EfficientNet-Lite0 after 12.

    0.47 points where chance reaches 0.56, and not seed 0's 0.40.
    """
    (seen,) = elsewhere([v for v in list_variants() if v.base])
    alone = next(said for said in findings(seen, seen) if said.startswith("After 12 alone, over 3 seeds"))
    assert "the largest difference is 0.47 points" in alone and "by up to 0.56 by chance" in alone


def test_figures_of_different_pictures_are_never_pooled() -> None:
    """The repeats were measured on the base's training photographs.

    They are no seeds of the figures on other photographs.
    """
    on_base = [v for v in list_variants() if v.base]
    assert {v.measured_on for v in on_base} == {"500 CC BY photographs from Flickr"}
    assert all(len(accuracy_of(v).seeds) == 1 for v in on_base)
    assert seed_spread(on_base) is noise_of_differences(on_base) is None
    (seen,) = elsewhere(on_base)
    assert {v.measured_on for v in seen} == {"500 training photographs of the base"} and len(seen) == len(on_base)
    assert sorted(len(accuracy_of(v).seeds) for v in seen) == [1] * 25 + [3] * 5
    for variant in on_base + seen:
        assert "75.1 % top-1" in variant.about_pictures and "ImageNet's validation set" in variant.about_pictures
    assert "no claim about ImageNet" in on_base[0].about_pictures and "trained" in seen[0].about_pictures


def test_a_network_that_lost_a_layer_is_compared_with_a_control_trained_as_long() -> None:
    plain, after = made_up("plain", None, 77.0), made_up("after", Placement((11,), 2), 77.5)
    instead = made_up("instead", Placement((10,), 2, "instead"), 78.5)
    longer = replace(
        instead,
        control=({"name": "plain", "metrics": {"top1": 79.0, "pictures": 2859}, "made_by": {"recipe": {"seed": 0}}},),
    )
    everything = [plain, after, instead, longer]
    assert finding([after], everything) == (
        "1 network and its control at 77.0: the largest difference is 0.50 points; with one seed each, nothing tells "
        "how much of it is chance."
    )
    assert "1 network: its difference to its control at 79.0 is -0.5 points;" in finding([longer], everything)
    assert finding([instead], everything) == ""  # none was trained as long
    assert finding([], everything) == ""
    assert [text.split(",")[0] for text in findings([after, longer], everything)] == [
        "After a layer",
        "Instead of a layer",
    ]


def test_what_attention_does_is_told_of_the_networks_that_were_measured() -> None:
    def with_effects(name: str, off: float, shuffled: float) -> Variant:
        variant = made_up(name, Placement((11,), 2), 77.0)
        effects = {
            change: {"top1": 77.0 - flips / 10, "flips": flips, "probability": 0.1}
            for change, flips in (("off", off), ("uniform", 0.1), ("shuffled", shuffled))
        }
        return replace(variant, metrics={**variant.metrics, "effects": effects})

    plain, unknown = made_up("plain", None, 77.0), made_up("a", Placement((11,), 4), 77.0)
    assert what_attention_does([plain, unknown]) == ""
    said = what_attention_does([plain, unknown, with_effects("b", 1.0, 0.4), with_effects("c", 2.0, 0.3)])
    assert (
        "these 2 networks, and its answer changes on at most 2.0 % of the 2,859 held-out pictures (top-1 moves by 0.2 "
        "points at most)" in said
    )
    assert "(one order for each subspace): at most 0.4 %" in said


def concluded(above: float, chance: float = 0.05) -> tuple[str, str, str]:
    """Conclude about one network so many points above its control, where seeds move their difference by so much."""
    plain = made_up("plain", None, 77.0, 77.0, 77.0)
    after = made_up("after", Placement((11,), 2), *(77.0 + above + seed for seed in (chance, 0.0, -chance)))
    return conclusions([plain, after], [plain, after], after)


def test_accuracy_is_judged_beyond_chance_and_beyond_the_smallest_size() -> None:
    noise = noise_of_differences(
        [made_up("plain", None, 77, 77, 77), made_up("a", Placement((11,), 2), 77.05, 77.0, 76.95)]
    )
    two = [Accuracy({0: 77.0, 1: 77.0, 2: 77.0}, 0.8), Accuracy({0: 77.1, 1: 77.1, 2: 77.1}, 0.8)]
    border = compare(two, noise).by_chance
    assert border is not None and 0.05 < border < SMALLEST_TOP1 - 0.05
    for above, judged, open_ in (
        (border - 0.01, "within chance", "g matters"),
        (border + 0.01, "too small to matter", "attention is why"),
        (SMALLEST_TOP1 - 0.01, "too small to matter", "attention is why"),
        (SMALLEST_TOP1 + 0.01, f"beyond chance ({border:.2f}).", "attention is why"),
    ):
        accuracy, _, left_open = concluded(above)
        assert accuracy.startswith(f"After a layer, top-1 differs by {above:.2f} points: ")
        assert judged in accuracy
        assert open_ in left_open
    assert "within chance" in concluded(SMALLEST_TOP1 + 0.01, chance=0.2)[0]  # large, and yet chance


def test_where_chance_is_not_known_nothing_is_judged() -> None:
    plain, after = made_up("plain", None, 77.0), made_up("after", Placement((11,), 2), 79.0)
    assert conclusions([plain, after], [plain, after], plain)[0] == (
        "After a layer, top-1 differs by 2.00 points; one seed each, chance unknown."
    )
    instead = made_up("instead", Placement((10,), 2, "instead"), 78.5)
    assert "Nothing here compares" in conclusions([plain, instead], [plain, instead], instead)[0]
    record = {"name": "plain", "metrics": {"top1": 79.0, "pictures": 2859}, "made_by": {"recipe": {"seed": 0}}}
    instead = replace(instead, control=(record,))
    everything = [plain, after, instead]
    assert (
        conclusions(everything, everything, instead)[0]
        == "Instead of a layer: -0.5 points; chance between bases unknown."
    )
    assert conclusions(everything, everything, after)[0].startswith("After a layer, top-1 differs by 2.00")
    assert "Nothing here compares" in conclusions([plain], [plain], plain)[0]


def test_maps_are_alive_that_are_uniform_for_less_than_a_fifth_of_the_pictures() -> None:
    def attends(*dead: float, off: float | None = None) -> str:
        variant = made_up("after", Placement((11,), 2), 77.0)
        effects = {} if off is None else {"effects": {"off": {"flips": off}}}
        variant = replace(variant, metrics={**variant.metrics, "attention": {"11": {"dead_share": dead}}} | effects)
        return conclusions([variant], [variant], variant)[1]

    assert attends(0.0, 0.199) == "All 2 maps are alive."
    assert attends(0.199, 0.2) == "1 of 2 maps are alive."
    assert attends(0.1, off=1.26) == "All 1 maps are alive; without attention, at most 1.3\u00a0% of answers change."
    assert attends() == "No maps were measured."


def test_the_documents_hold_the_manifests_figures(tmp_path: Path) -> None:
    for name in ("README.md", "docs/results.md", "checkpoints/README.md"):
        document = tmp_path / "document.md"
        document.write_text((ROOT / name).read_text())
        assert main(["variants", "--write", str(document)]) == 0
        assert document.read_text() == (ROOT / name).read_text(), f"python -m ulsam_viz variants --write {name}"


def test_a_document_without_marks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.md").write_text("nothing here")
    assert main(["variants", "--write", str(tmp_path / "text.md")]) == 2
    assert "has no place for tables" in capsys.readouterr().err


def test_every_variant_is_in_the_tables() -> None:
    variants = list_variants()
    assert sum(len(v) for v in by_backbone(variants).values()) == len(variants)
    placed = [v for members in by_backbone(variants).values() for group in by_position(members).values() for v in group]
    assert len(placed) == sum(v.placement is not None for v in variants)
    assert all(f"`{v.name}`" in map_table(variants) for v in variants)


def test_the_papers_formulas_give_the_papers_table() -> None:
    """Table of attention modules: m = 512, 14 x 14, thousands of parameters and millions of MACs."""
    table = ((524, 102.76), (66, 12.85), (33, 0.03), (84, 16.49), (33, 0.05), (1, 0.2))
    for module, (params, macs) in zip(paper.MODULES, table, strict=True):
        assert round(module.params(512) / 1e3) == params
        assert module.macs(512, 14, 14) / 1e6 == pytest.approx(macs, abs=0.006)
    assert all(len(row.by_groups) == len(paper.GROUPS) for row in paper.ACCURACY)
