"""Sentences that several pages say of a view."""

from __future__ import annotations

from ...evidence.statistics import finding, kind_of, of_kind
from ...text.escaping import escape_markdown
from ...zoo.variants import Variant, list_variants, position_name
from .scene import Scene, pretty


def differences(variant: Variant) -> str:
    """Say whether the networks at this variant's position and the control differ by more than chance."""
    if not variant.placement:
        return differences_of_positions(variant)
    return _in_words("At this position", [v for v in _alike(variant) if position_name(v) == position_name(variant)])


def differences_of_positions(variant: Variant) -> str:
    """Say the same of all networks of its backbone, mode ("after" for the plain control) and gain."""
    return _in_words("At all positions", _alike(variant))


def _alike(variant: Variant) -> list[Variant]:
    return of_kind((v for v in list_variants() if v.family == variant.family), *kind_of(variant))


def _in_words(where: str, placed: list[Variant]) -> str:
    found = finding(placed, list_variants())
    return found and f"{where}, {found}"


def of_gain(variant: Variant) -> str:
    """Say how large the gain of a variant's modules is, in the mean and at a map's peak."""
    if variant.gain == "published":
        return (
            "The attention's mean gain is 1 + 1/(H·W), 1.005 at 14 × 14; at a map's peak it is 1 + peak/(H·W), where "
            "peak is in multiples of uniform: 1.32 for a peak of 63 at 14 × 14. Maps are vivid, their effect is small."
        )
    return (
        "The gain is normalised, (1 + H·W·A) / 2, ours and not the paper's: its mean is 1, and it runs from a half to "
        "far above, so attention may act."
    )


def judged(scene: Scene) -> str:
    """Say of a sample whether the network is right about it, in Markdown."""
    sample, answer = scene.picture.sample, scene.attention.top(1)[0]
    truths = [pretty(name) for name in sample.truths(scene.variant.classes)] if sample else []
    if not truths:
        return "None of the network's classes is right for it."
    said = scene.class_name(answer)
    if said in truths:
        return f"The network says “{escape_markdown(said)}”, and is right."
    return (
        f"The network knows this subject as “{escape_markdown(truths[0])}”; it says “{escape_markdown(said)}”, which "
        "is wrong."
    )
