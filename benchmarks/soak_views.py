"""Views that visitors of the soak look at: an address of each page, drawn by lot."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from ulsam_viz.analysis.methods import METHODS
from ulsam_viz.images.samples import list_samples
from ulsam_viz.lesson.steps import STEPS
from ulsam_viz.ui.choose.network import backbone_label, position_label, position_words
from ulsam_viz.ui.inspect.questions import QUESTIONS
from ulsam_viz.zoo.variants import Variant, list_variants

Query = dict[str, str | list[str]]


def network(rng: Random) -> tuple[Variant, Query]:
    """Choose one of all networks."""
    variant = rng.choice(list_variants())
    query: Query = {"net": backbone_label(variant), "position": position_words(position_label(variant))}
    if variant.placement:
        query |= {"g": str(variant.groups), "gain": variant.gain}
    return variant, query


def picture(rng: Random) -> Query:
    """Choose one of the samples."""
    return {"picture": rng.choice(list_samples()).title}


def inspect(rng: Random) -> Query:
    """Look at a picture through a network, on its own or with a map opened."""
    _, query = network(rng)
    return query | picture(rng)


def question(rng: Random) -> Query:
    """Open a map, and ask one of the questions about it."""
    variant, query = network(rng)
    if not variant.placement:
        return question(rng)
    layer = rng.choice(variant.placement.layers)
    opened = {
        "subspace": f"layer {layer}, subspace {rng.randint(1, variant.groups)}",
        "question": rng.choice(QUESTIONS).id,
    }
    return query | picture(rng) | opened


def attributions(rng: Random) -> Query:
    """Ask for several attributions, cheap and expensive ones."""
    return inspect(rng) | {"methods": [METHODS[name].label for name in rng.sample(list(METHODS), 4)]}


def compare(rng: Random) -> Query:
    """Compare networks in one of the ways."""
    return inspect(rng) | {"way": rng.choice(("groups", "positions", "two", "modules"))}


def learn(rng: Random) -> Query:
    """Look at a step of the lesson, or at what is beside it."""
    if rng.random() < 0.7:
        return inspect(rng) | {"step": rng.choice(STEPS).id}
    return inspect(rng) | {"part": rng.choice(("sandbox", "experiments", "probes", "quiz"))}


def dataset(rng: Random) -> Query:
    """Look at all samples through a network, in one of the ways."""
    return network(rng)[1] | {
        "source": "samples",
        "look": rng.choice(("pictures", "distributions", "scatter", "classes", "means")),
    }


def evidence(rng: Random) -> Query:
    """Look at what is known of a network's family."""
    return network(rng)[1]


def nonsense(rng: Random) -> Query:
    """Ask for what there is not."""
    wishes = [
        "-1",
        "1e999",
        "NaN",
        "\x00",
        "☃" * 300,
        "../../etc/passwd",
        "<script>alert(1)</script>",
        "own-0123456789abcdef",
        "9" * 400,
    ]
    keys = ["picture", "net", "position", "g", "gain", "crop"]
    keys += ["methods", "subspace", "question", "target", "way", "step", "part"]
    keys += ["source", "look", "measure"]
    return {key: rng.choice(wishes) for key in rng.sample(keys, 5)}


#: What can be looked at: the page, and how its address is drawn. A new page is a line here.
VIEWS: dict[str, tuple[str, Callable[[Random], Query]]] = {
    "inspect": ("inspect", inspect),
    "compare": ("compare", compare),
    "learn": ("learn", learn),
    "evidence": ("evidence", evidence),
    "dataset": ("dataset", dataset),
}
#: What takes seconds, and is often left in the middle.
EXPENSIVE: dict[str, tuple[str, Callable[[Random], Query]]] = {
    "question": ("inspect", question),
    "attributions": ("inspect", attributions),
}
