"""One picture through one network, in one call: :func:`explain`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .analysis.attention import Attention
from .analysis.attribution import Attribution, AttributionWarning
from .analysis.computations import AttributionError
from .analysis.methods import METHODS
from .engine.engine import default_engine
from .images.preprocessing import ModelInput, Preprocessing, prepare
from .models.attention_network import AttentionNetwork
from .report.result import Sheet
from .zoo.live_model import GuestNetwork, as_guest
from .zoo.variants import Variant, get_variant

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from .questions.view import Topic, View
    from .report.record import Report


@dataclass(frozen=True)
class Explanation:
    """Everything about one picture, one network and one class.

    Attributes:
        variant: Name of the variant, or of the caller's own network.
        logits: Shape (classes,).
        probabilities: Calibrated, shape (classes,): softmax(logits / T) with the variant's own
            ``calibration.temperature``; of the caller's own network, of whose answers nothing was measured, T is 1.
        target: Class number that the attributions are for.
        attention: Attention maps by layer (of an adapted network, by the submodule's name), each (g, H, W), each map
            summing to 1.
        attributions: Attributions by method, each (S, S), signed where the method is.
        details: The full record of each method: time, passes, convergence delta, caveat.
        pixels: The crop that the network saw, shape (S, S, 3), uint8.
        classes: Class names by output number.
        gains: What maps become of features, by layer: ``"published"`` or ``"normalised"``.
        network: The record of the network.
        made_with: Methods with all their settings, ``seed``, ``device``.
        crop: What the network was given, to ask more about it.
    """

    variant: str
    logits: np.ndarray
    probabilities: np.ndarray
    target: int
    attention: Mapping[Any, np.ndarray]
    attributions: Mapping[str, np.ndarray]
    details: Mapping[str, Attribution]
    pixels: np.ndarray
    classes: tuple[str, ...] = field(repr=False)
    gains: Mapping[Any, str] = field(repr=False)
    network: Variant | GuestNetwork = field(repr=False)
    made_with: Mapping[str, Any] = field(repr=False)
    crop: ModelInput = field(repr=False)

    @property
    def sheet(self) -> Sheet:
        """The same as pictures and files."""
        return self.sheet_named("The picture")

    def sheet_named(self, picture: str) -> Sheet:
        """Return the same, with the picture's name."""
        return Sheet(
            self.variant,
            self.variant,
            picture,
            self.pixels,
            [name.replace("_", " ") for name in self.classes],
            self.logits,
            self.probabilities,
            self.target,
            self.attention,
            self.gains,
            self.details,
        )

    def figure(self, what: Any = None) -> Figure:
        """Draw the maps of a layer, or a method's attribution, as a Plotly figure.

        See :meth:`~ulsam_viz.report.result.Sheet.figure`.
        """
        return self.sheet.figure(what)

    def save(self, folder: str | Path) -> list[Path]:
        """Write pictures (PNG, SVG), numbers (NPZ) and settings (JSON) to a folder.

        See :meth:`~ulsam_viz.report.result.Sheet.save`.
        """
        return self.sheet.save(Path(folder), settings=self.made_with)

    def ask(self, *questions: str, other: str | Path = "") -> dict[Topic, Any]:
        """Ask what the page answers about a view, of every layer.

        Args:
            questions: ``"ablation"`` (effect if removed), ``"shapley"`` (each subspace's share), ``"sources"`` (why
                there?), ``"through"`` (contribution through it), ``"places"`` (insertion and deletion), ``"sanity"``
                (random weights).
            other: The picture that ``"ablation"`` takes attention from: a sample's name, such as ``"coffee"``, or a
                file; by default the first sample that is another picture.

        Returns:
            What the analysis found, by question, layer and class: for :meth:`report`.

        Raises:
            ValueError: For an unknown question or other picture, and for a network of which it cannot be asked.
        """
        from .questions.view import ask

        return ask(replace(self._view, other=str(other)), questions)

    @property
    def _view(self) -> View:
        from .questions.view import View

        made = self.made_with
        return View(
            self.network,
            self.crop,
            made["device"],
            self.target,
            self.attention,
            self.details,
            made["methods"],
            made["seed"],
        )

    def report(
        self,
        path: str | Path,
        *,
        picture: str = "The picture",
        file: str = "PICTURE",
        asked: Mapping[Topic, Any] | None = None,
    ) -> Path:
        """Write a report: one HTML file to read and to print, or a ZIP archive for a paper, as the path ends.

        Args:
            path: Ends in ``.html`` or ``.zip``; a file that is there is replaced.
            picture: Its name.
            file: Its file, for the command that computes the same again.
            asked: What :meth:`ask` returned, to stand in it.

        Raises:
            ValueError: If the path ends otherwise.
        """
        from .report.archive import write_report

        path = Path(path)
        return write_report(self.reported(picture=picture, file=file, asked=asked, to=path.name), path)

    def reported(
        self,
        *,
        picture: str = "The picture",
        file: str = "PICTURE",
        asked: Mapping[Topic, Any] | None = None,
        to: str = "report.html",
    ) -> Report:
        """Return what :meth:`report` writes; ``to`` is the name of its file."""
        from .questions.view import asked_by, other_of
        from .report.record import Report, address_to, command_note_of, command_of, record_of, sample_of

        methods, asked, sample = self.made_with["methods"], asked or {}, sample_of(file)
        questions, _ = asked_by(asked, self._view)
        target = "" if self.target == int(self.probabilities.argmax()) else self.classes[self.target]
        address, note = address_to(self.network, methods, target, sample)
        return Report(
            self.sheet_named(picture),
            record_of(self.network),
            self.classes,
            self.made_with,
            command_of(
                file,
                self.network,
                methods,
                self.target,
                seed=self.made_with["seed"],
                ask=questions,
                other=other_of(asked),
                cropped=self.made_with.get("cropped", False),
                report=to,
            ),
            command_note_of(
                self.network, picture="PICTURE stands for the picture's file." if file == "PICTURE" else ""
            ),
            address=address,
            address_note=note,
            source=f"{sample.source}; {sample.licence}." if sample else "",
            asked=asked,
            temperature=self.network.calibration.temperature,
        )

    def _repr_png_(self) -> bytes:
        """Show the picture, the maps and the attributions in a notebook."""
        return self.sheet.png()


def explain(
    image: Image.Image,
    variant: str | Variant | AttentionNetwork,
    methods: Sequence[str] = ("grad_cam",),
    target: int | str | None = None,
    *,
    device: str = "auto",
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    cropped: bool = False,
) -> Explanation:
    """Look at one picture through one trained variant, or through a network of one's own.

    Args:
        image: An RGB picture; :func:`ulsam_viz.decode_image` makes one from a file's bytes.
        variant: A variant or its name; or an :class:`~ulsam_viz.AttentionNetwork` such as
            :func:`ulsam_viz.insert_ulsam` returns, which is copied, never changed.
        methods: Names of attribution methods.
        target: Class number or name; by default the predicted class.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        settings: For each method, values other than its defaults.
        seed: The same call with the same seed gives the same numbers, in any thread.
        classes: Names by output number of a network of one's own; by default the numbers. A variant brings its own.
        preprocessing: How pictures become that network's input. A variant brings its own.
        cropped: The picture is the crop that the network is to see, such as an archive's ``input.png``, not what it is
            cut from.

    Returns:
        Logits, maps, attributions and the crop that the network saw.

    Raises:
        KeyError: For an unknown variant.
        CheckpointError: If the variant's checkpoint is damaged.
        AttributionError: For an unknown method, setting or class, and for a method whose rule does not hold on this
            network.
        ValueError: For a network of one's own without preprocessing, or with other classes than it has logits; for a
            variant with any of the two; for a crop of another size than the network's.
        TypeError: For what is neither.

    Warns:
        AttributionWarning: Where attributions miss the sum that their method promises by more than 5 %.
    """
    engine = default_engine()
    record = _record_of(variant, classes, preprocessing)
    place = engine.choose_device(device).device
    picture = _as_cropped(image, record.preprocessing) if cropped else prepare(image, record.preprocessing)
    attention = engine.attend(picture, record, place).result()
    number = attention.top(1)[0] if target is None else class_number(target, record)
    futures = {
        method: engine.attribute(
            picture, record, place, method=method, target=number, settings=(settings or {}).get(method), seed=seed
        )
        for method in methods
    }
    details = {method: future.result() for method, future in futures.items()}
    for own in details.values():
        if own.warning:
            warnings.warn(own.warning, AttributionWarning, stacklevel=2)
    return Explanation(
        record.name,
        attention.logits,
        attention.probabilities,
        number,
        attention.maps,
        {method: a.values for method, a in details.items()},
        details,
        picture.pixels,
        tuple(record.classes),
        _gains_of(record, attention),
        record,
        {
            "methods": {m: METHODS[m].complete((settings or {}).get(m, {})) for m in methods},
            "seed": seed,
            "device": place,
        }
        | ({"cropped": True} if cropped else {}),
        picture,
    )


def _as_cropped(image: Image.Image, preprocessing: Preprocessing) -> ModelInput:
    side = preprocessing.input_size
    if image.size != (side, side):
        raise ValueError(f"a crop for this network has {side} x {side} pixels, not {image.width} x {image.height}")
    return prepare(image, replace(preprocessing, crop=1.0))


def _gains_of(record: Variant | GuestNetwork, attention: Attention) -> dict[Any, str]:
    if isinstance(record, Variant):
        return dict.fromkeys(attention.maps, record.gain)
    return {layer: str(getattr(record.network.attention_of(layer), "gain", "published")) for layer in attention.maps}


def _record_of(
    variant: str | Variant | AttentionNetwork, classes: Sequence[str] | None, preprocessing: Preprocessing | None
) -> Variant | GuestNetwork:
    if isinstance(variant, str | Variant):
        if classes is not None or preprocessing is not None:
            raise ValueError(
                "a variant has its own classes and preprocessing; they are given with a network of one's own"
            )
        return get_variant(variant) if isinstance(variant, str) else variant
    if not isinstance(variant, AttentionNetwork):
        raise TypeError(
            f"expected a variant, its name, or a network that tells its attention, not {type(variant).__name__}; "
            "ulsam_viz.insert_ulsam makes such a network of any module"
        )
    if preprocessing is None:
        raise ValueError("say how pictures become the network's input: preprocessing=Preprocessing(...)")
    return as_guest(variant, classes, preprocessing)


def class_number(target: int | str, variant: Variant | GuestNetwork) -> int:
    """Return the number of a class that is given by its number or its name, as records or as people write it.

    Raises:
        AttributionError: If the variant knows no such class; the message suggests some.
    """
    if not isinstance(target, str):
        if not 0 <= target < len(variant.classes):
            raise AttributionError(f"{variant.name} has classes 0 to {len(variant.classes) - 1}, not {target}")
        return int(target)
    if target in variant.classes:
        return variant.classes.index(target)
    alike = {name for name in variant.classes if _letters(name) == _letters(target)}
    if len(alike) == 1:
        return variant.classes.index(alike.pop())
    by_letters = {_letters(name): name for name in variant.classes}
    near = sorted(alike) or [by_letters[name] for name in get_close_matches(_letters(target), by_letters, 3)]
    raise AttributionError(
        f"{variant.name} knows no class '{target}'" + (f"; do you mean {' or '.join(near)}?" if near else "")
    )


def _letters(name: str) -> str:
    """Return what is left of a class's name where capitals and ``_`` for a space do not matter."""
    return name.casefold().replace("_", " ")
