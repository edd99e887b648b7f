"""Questions about a view: how each is computed, and the names that its answers have in files.

The page asks one at a time, of the layer that is looked at; :func:`ask` asks those that need no further choice of every layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .analysis import effects, faithfulness
from .analysis.attribution import Attribution
from .analysis.computations import baseline_of
from .analysis.methods import METHODS
from .analysis.sanity import SanityCheck, sanity_checks
from .analysis.sources import attribute_attention
from .engine import Pause, Work, default_engine
from .guest import GuestNetwork
from .images import ModelInput, decode_image, prepare
from .samples import list_samples
from .zoo import Variant

#: What the parts of a question's name are, for whoever reads its answer in a file; "" for what no one could read there.
_PARTS = {
    "ablate": ("layer", "class", ""),
    "shapley": ("layer", "class"),
    "through": ("layer", "class"),
    "source": ("layer", "subspace", "by", "row", "column"),
    "sanity": ("layer",),
    "faithful": ("layer", "class", ""),
    "infidelity": ("layer", "class", ""),
    "sensitivity": ("of", "class", ""),
    "strength": ("layer", "subspace", "times"),
    "covered": ("rows", "columns"),
    "without-each": ("layer", "class"),
}
#: What the page first offers to find a map's pixels by.
_SOURCES_BY = "saliency"

Name = tuple[Hashable, ...]
Part = tuple[Name, Work[Any]]  # what the answer depends on besides network, picture and device; and what computes it


@dataclass(frozen=True)
class View:
    """What questions are about.

    Attributes:
        network: Its record.
        crop: What it is given.
        device: ``"cpu"`` or ``"cuda"``.
        target: Class number.
        attention: Maps by layer, each (g, H, W).
        attributions: By method.
        methods: Settings of those, of each those that differ from the defaults, or all.
        seed: Of those.
    """

    network: Variant | GuestNetwork
    crop: ModelInput
    device: str
    target: int
    attention: Mapping[Any, np.ndarray]
    attributions: Mapping[str, Attribution]
    methods: Mapping[str, Mapping[str, Any]]
    seed: int = 0


def readable(name: Name, classes: Sequence[str]) -> str:
    """Write a question's name with what its parts are, its classes by name and its subspaces counted from 1."""
    kind, *parts = name
    written = [str(kind)]
    for what, part in zip(_PARTS.get(str(kind), ()), parts, strict=False):
        if what == "class" and isinstance(part, int):
            part = classes[part]
        elif what == "subspace" and isinstance(part, int):
            part += 1
        elif isinstance(part, tuple):
            part = "-".join(map(str, part))
        written += [f"{what}_{part}"] if what else []
    return "_".join(written)


def ask(view: View, questions: Sequence[str]) -> dict[str, Any]:
    """Ask questions of :data:`QUESTIONS` about a view, of every layer.

    Returns:
        What the analysis found, by readable name: what a report takes.

    Raises:
        ValueError: For an unknown question, and for a network of which it cannot be asked.
    """
    check_askable(view.network, questions)
    futures = {
        readable(name, view.network.classes): default_engine().run(name, view.crop, view.network, view.device, work)
        for question in dict.fromkeys(questions)
        for name, work in _parts_of(question, view)
    }
    return {label: future.result() for label, future in futures.items()}


def asked_by(found: Collection[str], view: View) -> tuple[list[str], bool]:
    """Return the questions that give answers of these names again, and whether those are all of them."""
    if not found:
        return [], True
    gives = {question: {readable(name, view.network.classes) for name, _ in _parts_of(question, view)} for question in QUESTIONS}
    questions = [question for question, labels in gives.items() if labels & set(found)]
    return questions, set(found) <= set().union(*(gives[question] for question in questions))


def check_askable(network: Variant | GuestNetwork, questions: Sequence[str]) -> None:
    """Say before anything is computed what cannot be asked.

    Raises:
        ValueError: For an unknown question, and for a network of which it cannot be asked.
    """
    if unknown := [question for question in questions if question not in QUESTIONS]:
        raise ValueError(f"there is no question '{unknown[0]}'; there are: {', '.join(QUESTIONS)}")
    if questions and isinstance(network, Variant) and (not network.placement or network.placement.module != "ulsam"):
        raise ValueError(f"'{network.name}' carries no ULSAM module: there are no subspaces to ask about")
    if "sanity" in questions and isinstance(network, GuestNetwork):
        raise ValueError("'sanity' is asked of variants alone: it must know where a network keeps its weights")


def _parts_of(question: str, view: View) -> Iterator[Part]:
    for layer in view.attention:
        yield from QUESTIONS[question](view, layer)


def ablation(view: View, layer: Any, other: ModelInput) -> Part:
    """Ask what each change of each subspace's attention does; in one of them it is taken from another picture."""

    def work(model: Any, pause: Pause) -> list[effects.Effect]:
        temperature = view.network.calibration.temperature
        return effects.ablate(
            model, view.crop.tensor, layer=layer, target=view.target, other=other.tensor, temperature=temperature, pause=pause
        )

    return ("ablate", layer, view.target, other.key), work


def shapley(view: View, layer: Any) -> Part:
    """Ask for each subspace's share of the whole effect of a layer's attention."""

    def work(model: Any, pause: Pause) -> effects.ShapleyValues:
        return effects.shapley(model, view.crop.tensor, layer=layer, target=view.target, pause=pause)

    return ("shapley", layer, view.target), work


def source(view: View, layer: Any, subspace: int, method: str, place: tuple[int, int]) -> Part:
    """Ask which pixels make a subspace's attention at a place."""

    def work(model: Any, pause: Pause) -> Attribution:
        pre = view.network.preprocessing
        return attribute_attention(
            model, view.crop.tensor, layer=layer, subspace=subspace, method=method, preprocessing=pre, place=place, pause=pause
        )

    return ("source", layer, subspace, method, *place), work


def through(view: View, layer: Any) -> Part:
    """Ask what of the answer comes through each subspace."""

    def work(model: Any, _: Pause) -> effects.ThroughSubspaces:
        return effects.through_subspaces(model, view.crop.tensor, layer=layer, target=view.target)

    return ("through", layer, view.target), work


def places(view: View, layer: Any) -> Part:
    """Ask whether maps and attributions find the places that matter, by inserting and deleting pixels."""
    x, pre, own = view.crop.tensor, view.network.preprocessing, view.attention[layer]
    maps = {f"Subspace {k}": one for k, one in enumerate(own, 1)}
    if len(own) > 1:
        maps["mean of the subspaces"] = own.mean(0)
    maps |= {METHODS[name].label: a.values for name, a in view.attributions.items()}
    made_by = tuple(sorted((name, tuple(METHODS[name].complete(view.methods.get(name, {})).items())) for name in view.attributions))

    def work(model: Any, pause: Pause) -> Mapping[str, faithfulness.Faithfulness]:
        return faithfulness.measure(
            model,
            x,
            maps,
            target=view.target,
            blank=baseline_of(x, "grey", pre),
            blurred=baseline_of(x, "blurred", pre),
            temperature=view.network.calibration.temperature,
            pause=pause,
        )

    return ("faithful", layer, view.target, (made_by, view.seed)), work


def sanity(view: View, layer: Any) -> Part:
    """Ask whether maps depend on the weights and on the groups."""

    def work(model: Any, pause: Pause) -> list[SanityCheck]:
        return sanity_checks(model, view.crop.tensor, layer=layer, pause=pause)

    return ("sanity", layer), work


def _of_another_picture(view: View, layer: Any) -> Iterator[Part]:
    pre = view.network.preprocessing
    crops = (prepare(decode_image(sample.path.read_bytes()), pre) for sample in list_samples())
    yield ablation(view, layer, next(crop for crop in crops if crop.key != view.crop.key))


def _at_the_highest_places(view: View, layer: Any) -> Iterator[Part]:
    for k, own in enumerate(view.attention[layer]):
        row, column = (int(i) for i in np.unravel_index(int(own.argmax()), own.shape))
        yield source(view, layer, k, _SOURCES_BY, (row, column))


#: What can be asked of each layer without a further choice, by the name that it has in the page's address.
QUESTIONS: dict[str, Callable[[View, Any], Iterable[Part]]] = {
    "ablation": _of_another_picture,
    "shapley": lambda view, layer: [shapley(view, layer)],
    "sources": _at_the_highest_places,
    "through": lambda view, layer: [through(view, layer)],
    "places": lambda view, layer: [places(view, layer)],
    "sanity": lambda view, layer: [sanity(view, layer)],
}
