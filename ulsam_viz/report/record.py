"""The content of a report: a view, its provenance, the answered questions, and its address and command."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..analysis.effects import Effect
from ..analysis.methods import METHODS
from ..figures.colours import Scale
from ..figures.tiles import Display
from ..images.preprocessing import Preprocessing
from ..images.samples import Sample, list_samples
from ..paths import program
from ..questions.view import Topic
from ..zoo.live_model import GuestNetwork
from ..zoo.other_layouts import SMALL_INPUT
from ..zoo.variants import Variant, list_variants, position_name
from .address import address_of
from .citation import bibtex
from .contact_sheet import flatten
from .result import Sheet

_PACKAGES = ("torch", "torchvision", "captum", "streamlit", "numpy", "Pillow", "matplotlib")


@dataclass(frozen=True)
class Report:
    """One view, with everything that a reader needs to judge and to repeat it.

    Attributes:
        sheet: What is shown.
        network: The record of the network, see :func:`record_of`.
        classes: Names by output number, as records have them; the sheet's are for people.
        made_with: Methods with all their settings, seed, device.
        command: Makes the same numbers again.
        command_note: What stands for what in it; or "".
        address: Opens the view again, where it begins with ``/`` below the app's; "" where there is none.
        source: Whose the picture is, and its licence, where that is known.
        display, scale: How maps are drawn.
        asked: What was asked about the view, by question, with the results as the analysis gave them.
        temperature: Divides logits before they become probabilities.
        address_note: What to do with the address; or "".
    """

    sheet: Sheet
    network: Mapping[str, Any]
    classes: Sequence[str]
    made_with: Mapping[str, Any]
    command: str
    command_note: str = ""
    address: str = ""
    source: str = ""
    display: Display = field(default=Display())
    scale: Scale = "uniform"
    asked: Mapping[Topic, Any] = field(default_factory=dict)
    temperature: float = 1.0
    address_note: str = ""

    def found(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return what was found as JSON holds it; its arrays are put into ``arrays``."""
        return {f"examined_{n}": flatten(_counted_from_1(r), f"examined_{n}", arrays) for n, r in self.asked.items()}

    def settings(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything but the numbers as plain values; ``found`` comes from :meth:`found`."""
        own = {
            "network": self.sheet.network,
            "picture": self.sheet.picture,
            "source": self.source,
            "answers": self.sheet.answers,
            "address": self.address,
            "command": self.command,
            "variant": self.network.get("name", ""),
            "sha256": self.network.get("sha256", ""),
            "target": self.classes[self.sheet.target],
            **self.made_with,
            "scale": self.scale,
            "display": asdict(self.display),
            "versions": versions(),
            "record": self.network,
            "citation": bibtex(),
        }
        plain: dict[str, Any] = flatten(own, "settings", {})
        return plain | dict(found)

    def npz(self) -> bytes:
        """Return all numbers, with what made them, as an NPZ file."""
        arrays: dict[str, np.ndarray] = {"classes": np.array(list(self.classes))}
        return self.sheet.npz(self.settings(self.found(arrays)), arrays)


def _counted_from_1(result: Any) -> Any:
    """Give effects their subspaces' names on the page; anything else names none by a number."""
    if isinstance(result, list | tuple):
        return [_counted_from_1(item) for item in result]
    if isinstance(result, Effect) and result.subspace is not None:
        return replace(result, subspace=result.subspace + 1)
    return result


def record_of(network: Variant | GuestNetwork) -> dict[str, Any]:
    """Return a network's record as plain values: architecture, training, metrics and the checkpoint's sha256."""
    known = {
        "name": network.name,
        "preprocessing": asdict(network.preprocessing),
        "temperature": network.calibration.temperature,
    }
    if isinstance(network, GuestNetwork):
        return known | {"classes": f"{len(network.classes):,}", "precision": network.precision}
    return known | {
        "label": network.label,
        "classes": network.knows,
        "position": position_name(network),
        "groups": network.groups,
        "gain": network.gain,
        "dataset": network.dataset,
        "seed": network.made_by.get("recipe", {}).get("seed"),
        "measured_on": network.measured_on,
        "about_pictures": network.about_pictures,
        "elsewhere": {
            v.measured_on: {key: v.metrics.get(key) for key in ("top1", "top5")} | {"chosen": v.pictures_chosen}
            for v in network.elsewhere
        },
        "metrics": dict(network.metrics),
        "made_by": dict(network.made_by),
        "sha256": network.sha256,
        "base": network.base,
        "base_sha256": network.base_sha256,
    }


def complete(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return all settings of methods, defaults filled in."""
    return {name: METHODS[name].complete(values) for name, values in methods.items()}


def versions() -> dict[str, str]:
    """Return the versions of the libraries that compute."""
    return {"ulsam_viz": __version__, "python": platform.python_version()} | {
        n: v for n in _PACKAGES if (v := _version(n))
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def sample_of(file: str) -> Sample | None:
    """Return the sample picture that a file is, if it is one."""
    return next((s for s in list_samples() if s.path.resolve() == Path(file).resolve()), None)


def address_to(
    network: Variant | GuestNetwork, methods: Mapping[str, Mapping[str, Any]], target: str, sample: Sample | None
) -> tuple[str, str]:
    """Return the address of a view, below that of the app, and what to do with it.

    "" for networks that the app does not offer.

    Args:
        network: Of the view.
        methods: With their settings.
        target: Name of the class that was asked for; "" for the network's own answer.
        sample: The picture, where it is one.
    """
    if not isinstance(network, Variant) or network.key not in {v.key for v in list_variants()}:
        return "", ""
    note = f"To be opened below the address that “{program()} app” names"
    note += "." if sample else "; it restores the network and the settings, and the picture is to be uploaded there."
    return address_of(network, methods, target=target, sample=sample), note


def entering(variant: Variant) -> str:
    """Write the command that enters a network that was uploaded, as what it was read as."""
    p, pre, usual = variant.placement, variant.preprocessing, Preprocessing()
    words = [
        *program().split(),
        "add",
        str(variant.made_by.get("file", "FILE")),
        "--classes",
        "classes.txt",
        "--name",
        variant.name,
    ]
    words += ["--gain", p.gain, "--layers", *map(str, p.layers)] if p else []
    words += ["--weights", variant.made_by["weights"]] if "weights" in variant.made_by else []
    words += ["--input-size", str(pre.input_size)] if pre.input_size != usual.input_size else []
    words += ["--stem-stride", "2"] if pre.input_size < SMALL_INPUT else []
    return shlex.join(words)


def _python_of(
    network: GuestNetwork,
    methods: Mapping[str, Mapping[str, Any]],
    *,
    picture: str,
    target: int,
    seed: int,
    asked: Sequence[str],
    cropped: bool,
    report: str,
) -> str:
    """Write the Python that computes a view of a live model again.

    It calls the model ``network``, its class names ``classes``.
    """
    numbered = network.classes == tuple(map(str, range(len(network.classes))))
    settings = {name: changed for name, own in methods.items() if (changed := METHODS[name].changed(own))}
    arguments = [
        f"decode_image(Path({picture!r}).read_bytes())",
        "network",
        repr(tuple(methods)),
        str(target),
        *([f"settings={settings!r}"] if settings else []),
        f"seed={seed}",
        *([] if numbered else ["classes=classes"]),
        f"preprocessing={network.preprocessing!r}",
        *(["cropped=True"] if cropped else []),
    ]
    answers = f", asked=seen.ask({', '.join(asked)})" if asked else ""
    return (
        "from pathlib import Path\n"
        "from ulsam_viz import Preprocessing, decode_image, explain\n"
        f"seen = explain({', '.join(arguments)})\n"
        f"seen.report({report!r}, file={picture!r}{answers})"
    )


def command_of(
    picture: str,
    network: Variant | GuestNetwork,
    methods: Mapping[str, Mapping[str, Any]],
    target: int,
    *,
    seed: int = 0,
    ask: Sequence[str] = (),
    other: str = "",
    cropped: bool = False,
    report: str = "report.html",
) -> str:
    """Write the command that computes a view again; of a live model, which no command can load, the Python that does.

    Args:
        picture: The file.
        network: Of the view.
        methods: With those settings that differ from the defaults, or all.
        target: Class number.
        seed: Of the methods.
        ask: Questions that its report answers.
        other: The picture that attention is taken from in one of them; "" where none is.
        cropped: The file is the network's crop, not the picture that it was cut from.
        report: The file to write.
    """
    if isinstance(network, GuestNetwork):
        asked = [*map(repr, ask), *([f"other={other!r}"] if ask and other else [])]
        return _python_of(
            network, methods, picture=picture, target=target, seed=seed, asked=asked, cropped=cropped, report=report
        )
    name = network.classes[target]
    # Digits are read as a class's number, a dash as an option, and of two classes with one name the first is meant.
    wished = (
        name
        if not name.isdecimal() and not name.startswith("-") and network.classes.index(name) == target
        else str(target)
    )
    changed = [
        f"{method}.{name}={value}"
        for method, own in methods.items()
        for name, value in METHODS[method].changed(own).items()
    ]
    words = [
        *program().split(),
        "inspect",
        _as_file(picture),
        *(["--cropped"] if cropped else []),
        "--variant",
        network.name,
    ]
    words += ["--methods", *methods, *(["--set", *changed] if changed else []), "--target", wished]
    words += ["--seed", str(seed)] if seed else []
    words += ["--other", _as_file(other)] if other else []
    words += ["--ask", *ask] if ask else []
    return shlex.join([*words, "--report", _as_file(report)])


def _as_file(name: str) -> str:
    """Write a file's name so that no command takes it for an option."""
    return f"./{name}" if name.startswith("-") else name


def command_note_of(network: Variant | GuestNetwork, *, picture: str = "") -> str:
    """Return what must be there before :func:`command_of`'s command runs, or what replaces the command.

    Args:
        network: Of the view.
        picture: What the command calls the picture, if somebody must put the file there: a sentence about it.
    """
    if isinstance(network, GuestNetwork):
        live = f"In Python, where network is the live {network.name} of this report, and classes are its class names."
        return " ".join(filter(None, (picture, live)))
    own = ""
    if network.own and network.path is None:
        own = (
            f"The network is one of your own: enter it first, with `{entering(network)}` (classes.txt: its classes, "
            "one a line)."
        )
    return " ".join(filter(None, (picture, own)))
