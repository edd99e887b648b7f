"""Questions about a view: how each is computed, and the names that its answers have in files.

The page asks one at a time, of the layer that is looked at; :func:`ask` asks those that need no further choice of every
layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..analysis import effects, faithfulness
from ..analysis.attribution import Attribution
from ..analysis.computations import baseline_of
from ..analysis.methods import METHODS
from ..analysis.sanity import SanityCheck, sanity_checks
from ..analysis.sources import attribute_attention
from ..engine.engine import Pause, Work, default_engine
from ..images.preprocessing import ModelInput, Preprocessing, decode_image, prepare
from ..images.samples import list_samples
from ..zoo.live_model import GuestNetwork
from ..zoo.variants import Variant

#: What the parts of a question's name are; "" for what its answer depends on and no reader needs.
_PARTS = {
    "ablate": ("layer", "class", "other"),
    "shapley": ("layer", "class"),
    "through": ("layer", "class"),
    "source": ("layer", "subspace", "by", "row", "column"),
    "sanity": ("layer",),
    "baselines": ("class",),
    "faithful": ("layer", "class", ""),
    "marked-places": ("layer",),
    "infidelity": ("layer", "class", ""),
    "sensitivity": ("layer", "of", "class", ""),
    "strength": ("layer", "subspace", "times"),
    "covered": ("rows", "columns"),
    "without-each": ("layer", "class"),
}
#: What the page first offers to find a map's pixels by.
_SOURCES_BY = "saliency"

Name = tuple[Hashable, ...]
Part = tuple[Name, Work[Any]]  # what the answer depends on besides network, picture and device; and what computes it


@dataclass(frozen=True)
class Topic:
    """The key of an answer: the kind of question and its parts.

    Attributes:
        kind: Of the question.
        parts: What it is about, each by what it is: a layer's name, a subspace's number (from 0), a class's number, a
            place.
        text: The same as a name in files, such as ``"shapley_layer_11_class_cup"``; it is never read back.
        other: The picture that attention was taken from, as ``--other`` takes it; "" where none was.
    """

    kind: str
    parts: tuple[tuple[str, Hashable], ...]
    text: str
    other: str = field(default="", compare=False)

    def part(self, what: str) -> Any:
        """Return one part; None if it has none of that kind."""
        return dict(self.parts).get(what)

    def __str__(self) -> str:
        """Return its name in files."""
        return self.text


@dataclass(frozen=True)
class OtherPicture:
    """A picture that attention is taken from.

    Attributes:
        name: As ``--other`` takes it: a sample's name, or a file.
        crop: What the network is given.
    """

    name: str
    crop: ModelInput


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
        other: The picture that attention is taken from, as ``--other`` takes it; "" for the first sample that is
            another one.
    """

    network: Variant | GuestNetwork
    crop: ModelInput
    device: str
    target: int
    attention: Mapping[Any, np.ndarray]
    attributions: Mapping[str, Attribution]
    methods: Mapping[str, Mapping[str, Any]]
    seed: int = 0
    other: str = ""


def topic_of(name: Name, classes: Sequence[str]) -> Topic:
    """Return the topic of an answer's name.

    Args:
        name: Its kind, then its parts as they stand in :data:`_PARTS`; a part that is None does not apply.
        classes: Names by number.
    """
    kind, *values = name
    known = {
        what: value
        for what, value in zip(_PARTS.get(str(kind), ()), values, strict=False)
        if what and value is not None
    }
    other = known.pop("other", ("",))
    text = "_".join([str(kind), *(f"{what}_{_written(what, value, classes)}" for what, value in known.items())])
    return Topic(str(kind), tuple(known.items()), text, other[0])  # type: ignore[index]


def _written(what: str, value: Any, classes: Sequence[str]) -> str:
    """Write a part for files: classes by name, subspaces counted from 1."""
    if what == "class":
        return classes[value]
    return (
        str(value + 1) if what == "subspace" else "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
    )


def ask(view: View, questions: Sequence[str]) -> dict[Topic, Any]:
    """Ask questions of :data:`QUESTIONS` about a view, of every layer.

    Returns:
        What the analysis found, by what was asked: what a report takes.

    Raises:
        ValueError: For an unknown question, and for a network of which it cannot be asked.
    """
    check_askable(view.network, questions)
    futures = {
        topic_of(name, view.network.classes): default_engine().run(name, view.crop, view.network, view.device, work)
        for question in dict.fromkeys(questions)
        for name, work in _parts_of(question, view)
    }
    return {topic: future.result() for topic, future in futures.items()}


def asked_by(found: Collection[Topic], view: View) -> tuple[list[str], bool]:
    """Return the questions that give these answers again, and whether those are all of them."""
    if not found:
        return [], True
    gives = {
        question: {topic_of(name, view.network.classes) for name, _ in _parts_of(question, view)}
        for question in QUESTIONS
    }
    questions = [question for question, topics in gives.items() if topics & set(found)]
    return questions, set(found) <= set().union(*(gives[question] for question in questions))


def other_of(found: Iterable[Topic]) -> str:
    """Return the picture that attention was taken from in these answers, as ``--other`` takes it; "" if from none."""
    return next((topic.other for topic in found if topic.other), "")


def check_askable(network: Variant | GuestNetwork, questions: Sequence[str]) -> None:
    """Raise an error, before anything is computed, for a question that does not exist.

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


def other_picture(name: str, preprocessing: Preprocessing) -> OtherPicture:
    """Return a sample by its name, or else a picture by its file, as a network takes it.

    Raises:
        ValueError: If there is neither.
        ImageError: If the file is no picture that can be used.
    """
    sample = next((sample for sample in list_samples() if sample.path.stem == name), None)
    path = sample.path if sample else Path(name)
    if not path.is_file():
        raise ValueError(
            f"there is no file '{name}', and no sample of that name; samples: "
            f"{', '.join(s.path.stem for s in list_samples())}"
        )
    return OtherPicture(name, prepare(decode_image(path.read_bytes()), preprocessing))


def ablation(view: View, layer: Any, other: OtherPicture) -> Part:
    """Ask what each change of each subspace's attention does; in one of them it is taken from another picture."""

    def work(model: Any, pause: Pause) -> list[effects.Effect]:
        temperature = view.network.calibration.temperature
        return effects.ablate(
            model,
            view.crop.tensor,
            layer=layer,
            target=view.target,
            other=other.crop.tensor,
            temperature=temperature,
            pause=pause,
        )

    return ("ablate", layer, view.target, (other.name, other.crop.key)), work


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
            model,
            view.crop.tensor,
            layer=layer,
            subspace=subspace,
            method=method,
            preprocessing=pre,
            place=place,
            pause=pause,
        )

    return ("source", layer, subspace, method, *place), work


def through(view: View, layer: Any) -> Part:
    """Ask for gradient times activation of the target, by subspace."""

    def work(model: Any, _: Pause) -> effects.ThroughSubspaces:
        return effects.through_subspaces(model, view.crop.tensor, layer=layer, target=view.target)

    return ("through", layer, view.target), work


def baselines(view: View) -> Part:
    """Ask for insertion and deletion of baselines that ignore the network; the same for all layers and maps."""

    def work(model: Any, pause: Pause) -> faithfulness.Baselines:
        return faithfulness.measure_baselines(model, view.crop.tensor, pause=pause, **_ways(view))

    return ("baselines", view.target), work


def places(view: View, layer: Any) -> Part:
    """Ask whether maps and attributions find the places that matter, by inserting and deleting pixels."""
    own = view.attention[layer]
    maps = {f"Subspace {k}": one for k, one in enumerate(own, 1)}
    if len(own) > 1:
        maps["mean of the subspaces"] = own.mean(0)
    maps |= {METHODS[name].label: a.values for name, a in view.attributions.items()}
    made_by = tuple(
        sorted((name, tuple(METHODS[name].complete(view.methods.get(name, {})).items())) for name in view.attributions)
    )

    def work(model: Any, pause: Pause) -> Mapping[str, faithfulness.Faithfulness]:
        return faithfulness.measure(model, view.crop.tensor, maps, pause=pause, **_ways(view))

    return ("faithful", layer, view.target, (made_by, view.seed)), work


def _ways(view: View) -> dict[str, Any]:
    """Return the common arguments of insertion and deletion: target, replacement pixels and temperature."""
    x, pre = view.crop.tensor, view.network.preprocessing
    return {
        "target": view.target,
        "blank": baseline_of(x, "grey", pre),
        "blurred": baseline_of(x, "blurred", pre),
        "temperature": view.network.calibration.temperature,
    }


def sanity(view: View, layer: Any) -> Part:
    """Ask whether maps depend on the weights and on the groups."""

    def work(model: Any, pause: Pause) -> list[SanityCheck]:
        return sanity_checks(model, view.crop.tensor, layer=layer, pause=pause)

    return ("sanity", layer), work


def _of_another_picture(view: View, layer: Any) -> Iterator[Part]:
    pre = view.network.preprocessing
    names = [view.other] if view.other else [sample.path.stem for sample in list_samples()]
    pictures = (other_picture(name, pre) for name in names)
    yield ablation(view, layer, next(one for one in pictures if view.other or one.crop.key != view.crop.key))


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
    "places": lambda view, layer: [baselines(view), places(view, layer)],
    "sanity": lambda view, layer: [sanity(view, layer)],
}
