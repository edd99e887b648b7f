"""The trained variants: their records, the manifest, and loading that verifies everything it reads."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from itertools import count, product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as parse_safetensors
from torch import Tensor

from .. import paths as places
from ..images.preprocessing import Preprocessing
from ..models.backbones import BACKBONES
from ..models.network import Network, Placement
from ..models.optimize import optimize
from ..models.ulsam import Gain
from .pretrained import BASES, BaseError, classes_of, load_base
from .test_sets import set_called

# The shipped zoo, or those of the user's own making, the first of which is *the* zoo.
_NAMED = tuple(Path(part) for part in os.environ.get("ULSAM_VIZ_CHECKPOINTS", "").split(os.pathsep) if part)
CHECKPOINTS, *_MORE = _NAMED or (places.CHECKPOINTS,)
MANIFEST_FORMAT = 1
#: What stands where a figure was not measured.
UNKNOWN = "unknown"
_DTYPES = {"float16": torch.float16, "float32": torch.float32}
_LOG = logging.getLogger(__name__)
#: Experiments beside the zoo: what the gain and other modules do, and what attention from the start of training does.
STUDIES = ("gain", "start")


class CheckpointError(ValueError):
    """A manifest or checkpoint that is missing, damaged or not what it says.

    The message names the file and the reason.
    """


@dataclass(frozen=True)
class Calibration:
    """What is known of a network's answers; :mod:`ulsam_viz.training.calibrate` measures it.

    Attributes:
        temperature: Divides the logits before the softmax, so that probabilities are right as often as they say; 1
            leaves them as they are.
        ece: Expected calibration error on the test pictures with that temperature, in %; None where it was not
            measured.
        known: How far calibrated answers to the test pictures are spread (entropy, nats): smallest, deciles, largest.
        foreign: The same for pictures that show none of the classes; empty where there were none.
        warned: For other pictures, what they are and how many of them, in %, get the warning that no class may fit.
    """

    temperature: float = 1.0
    ece: float | None = None
    known: tuple[float, ...] = ()
    foreign: tuple[float, ...] = ()
    warned: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Variant:
    """A trained network: what it is, how its pictures are prepared, how well it does, and what made it.

    Attributes:
        name: Unique name, e.g. ``"mobilenet_v1-0.5-after11-g4"``.
        backbone: ``"mobilenet_v1"`` or ``"mobilenet_v2"``.
        width: Width multiplier.
        placement: Its ULSAM modules; None for the plain control.
        classes: Class names by output number.
        preprocessing: Size and normalisation of its input.
        metrics: Figures on its test pictures: ``top1``, ``top5`` (%), ``ece``, ``pictures`` and which they are
            (``measured_on``; by default held-out pictures of its dataset), and ``attention`` by layer. An own network's
            may all
            be missing: see :meth:`figure`.
        made_by: Data, recipe, seed, code version and time of the training run.
        dataset: What it was trained on, which names the classes.
        path: The checkpoint file; None where the network is its base and nothing else, and where only figures are kept.
        sha256: Of the checkpoint file, or of the base's.
        base: Name of the frozen base, see :data:`~ulsam_viz.zoo.pretrained.BASES`: the file then holds the modules
            alone. None where it holds the whole network.
        base_sha256: Of the base that the modules were trained in; "" without one.
        repeats: Records (``metrics``, ``made_by``) of the same training with other seeds, whose weights do not ship;
            those that were measured on the same pictures.
        elsewhere: The same network with its figures on other test pictures, and the repeats that were measured on
            those: figures of different pictures are never pooled.
        control: Where the plain variant is not the control, the records of the plain network that is, one a seed:
            trained as long from the same start (normalised gain), or as long from a base of its own (modules instead of
            layers).
        calibration: How its logits become probabilities, and what they tell of unknown subjects.
        own: The user entered it, see :mod:`ulsam_viz.zoo.user_networks`; its dataset is then its own name, so it is
            pooled with no other.
        weights: The tensors themselves, where the network is in memory alone.
        dtype: Of the file's tensors: ``"float16"``, which all of the zoo have, or an own network's ``"float32"``.
    """

    name: str
    backbone: str
    width: float
    placement: Placement | None
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    metrics: Mapping[str, Any]
    made_by: Mapping[str, Any]
    dataset: str
    path: Path | None
    sha256: str = field(repr=False)
    base: str | None = None
    base_sha256: str = field(default="", repr=False)
    repeats: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    elsewhere: tuple[Variant, ...] = field(default=(), repr=False, compare=False)
    control: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    calibration: Calibration = field(default=Calibration(), repr=False)
    own: bool = False
    dtype: str = field(default="float16", repr=False)
    weights: Mapping[str, Tensor] | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> str:
        """What results may be kept by: equal keys, the same answers.

        (A wrong manifest may give two networks one file.)
        """
        return f"{self.name} {self.sha256} {self.calibration.temperature}"

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self.preprocessing.input_size

    @property
    def label(self) -> str:
        """The network's name for people, without its modules: ``"MobileNet-V1 0.5"``."""
        return BACKBONES[self.backbone].label_of(self.width)

    @property
    def family(self) -> tuple[str, float, str]:
        """The family of variants that may be compared and pooled: one network and dataset."""
        return self.backbone, self.width, self.dataset

    @property
    def knows(self) -> str:
        """What its classes are, for people: ``"101 classes of Caltech-101"``."""
        titles = {"caltech101": "Caltech-101", "imagenet1k": "ImageNet"}
        return f"{len(self.classes):,} classes of {'its own' if self.own else titles.get(self.dataset, self.dataset)}"

    @property
    def title(self) -> str:
        """Its family, for people: ``"MobileNet-V1 0.5, 101 classes of Caltech-101"``."""
        return f"{self.label}, {self.knows}"

    @property
    def measured_on(self) -> str:
        """What its figures are of: ``"2,859 held-out pictures"``."""
        if "pictures" not in self.metrics:
            return "pictures that are not known"
        return f"{self.metrics['pictures']:,} {pictures_of(self.metrics)}"

    @property
    def pictures_chosen(self) -> str:
        """How its test pictures were chosen, in sentences; empty for held-out pictures."""
        known = set_called(pictures_of(self.metrics))
        return known.chosen if known else ""

    @property
    def about_pictures(self) -> str:
        """How its test pictures were chosen, and the accuracy that the base's publishers report."""
        return f"{self.pictures_chosen} {BASES[self.base].published if self.base else ''}".strip()

    def figure(self, key: str, form: str = ".1f") -> str:
        """Write one of its metrics in a format, or "unknown"."""
        return format(self.metrics[key], form) if key in self.metrics else UNKNOWN

    @property
    def gain(self) -> Gain:
        """Its modules' gain; a plain network belongs to the published ones."""
        return self.placement.gain if self.placement else "published"

    @property
    def groups(self) -> int:
        """Number of subspaces g; 0 for the plain control."""
        return self.placement.groups if self.placement else 0


def variant_name(backbone: str, width: float, placement: Placement | None) -> str:
    """Return the one name of a network in the zoo."""
    name = BACKBONES[backbone].name_of(width)
    if placement is None:
        return f"{name}-plain"
    layers = "_".join(map(str, placement.layers))
    if placement.module != "ulsam":
        return f"{name}-{placement.mode}{layers}-{placement.module}"
    gain = "" if placement.gain == "published" else f"-{placement.gain}"
    return f"{name}-{placement.mode}{layers}-g{placement.groups}{gain}"


def position_name(variant: Variant, *, noun: bool = False, gain: bool = True) -> str:
    """Write where a variant carries its modules: ``"after 11"``, ``"instead of 10"``, ``"none (plain control)"``.

    Args:
        variant: The variant.
        noun: Say what the numbers are: ``"after layer 11"``.
        gain: Name another gain than the published one, too.
    """
    p = variant.placement
    if p is None:
        return "none (plain control)"
    layers = ("layers " if len(p.layers) > 1 else "layer ") if noun else ""
    where = f"{'instead of' if p.mode == 'instead' else 'after'} {layers}{', '.join(map(str, p.layers))}"
    return where if p.gain == "published" or not gain else f"{where}, {p.gain} gain"


def pictures_of(metrics: Mapping[str, Any]) -> str:
    """Return which pictures figures are of, in words."""
    return str(metrics.get("measured_on", "held-out pictures"))


def own_folder() -> Path:
    """Return the folder of the user's own networks: ``ULSAM_VIZ_OWN``, or one in the system's folder for user data."""
    if named := os.environ.get("ULSAM_VIZ_OWN"):
        return Path(named)
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        data = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = os.environ.get("XDG_DATA_HOME") or home / ".local" / "share"
    return Path(data) / "ulsam_viz"


def folders() -> list[Path]:
    """Return all folders with networks: the zoo, those of ``ULSAM_VIZ_CHECKPOINTS``, and the user's own."""
    own = own_folder()
    found = [CHECKPOINTS, *_MORE, *([own] if os.path.exists(own / "manifest.json") else [])]
    return list(dict.fromkeys(found))


def list_variants(folder: Path | None = None, *, study: str | None = None) -> list[Variant]:
    """Read the manifest of a folder, or those of all :func:`folders`.

    Args:
        folder: Folder with ``manifest.json`` and the checkpoints it names; None for the zoo and what stands beside it.
            A folder beside the zoo whose manifest is damaged is left out, and :func:`problems` says why.
        study: Networks of an experiment beside the zoo, some of which are figures alone: ``"gain"``, ``"start"``; the
            zoo's own otherwise.

    Returns:
        All variants: those with weights of their own, then those on a base; by backbone and width, the plain control
            first, then by
        mode, layers and groups.

    Raises:
        CheckpointError: If the manifest is missing, damaged or of another format. Checkpoint files are not opened here.
    """
    if folder is not None:
        return _variants_in(folder, study)
    variants = _variants_in(CHECKPOINTS, study)
    if study:
        return variants
    for other in folders()[1:]:
        try:
            variants += _beside(_variants_in(other, None), variants)
        except CheckpointError as error:
            _LOG.warning("networks left out: %s", error)
    return variants


def problems() -> list[str]:
    """Say which folders beside the zoo cannot be used, and why, a sentence each."""
    found = []
    for folder in folders()[1:]:
        try:
            _variants_in(folder, None)
        except CheckpointError as error:
            found.append(f"The networks in '{folder}' are left out: {error}.")
    return found


def _beside(added: Sequence[Variant], present: Sequence[Variant]) -> list[Variant]:
    """Give variants of another folder names of their own, and keep them out of the statistics of what is there."""
    names, datasets = {v.name for v in present}, {v.dataset for v in present}
    result = []
    for variant in added:
        name = next(n for i in count(1) if (n := variant.name if i == 1 else f"{variant.name}-{i}") not in names)
        dataset = name if variant.own else variant.dataset
        if dataset in datasets and not variant.own:
            dataset = f"{dataset} ({variant.path.parent.name})" if variant.path else f"{dataset} (another zoo)"
        names.add(name)
        result.append(replace(variant, name=name, dataset=dataset))
    return result


def _variants_in(folder: Path, study: str | None) -> list[Variant]:
    path = folder / "manifest.json"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CheckpointError(f"no manifest of trained variants at '{path}'") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the manifest '{path}' cannot be read: {error}") from error
    return list(_parse_manifest(path, text, study))


@lru_cache(maxsize=32)
def _parse_manifest(path: Path, text: str, study: str | None) -> tuple[Variant, ...]:
    """Parse a part of a manifest once for every content it has had."""
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"the manifest '{path}' cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != MANIFEST_FORMAT:
        raise CheckpointError(f"the manifest '{path}' is not of format {MANIFEST_FORMAT}")
    try:
        part = manifest.get("studies", {}).get(study, {"variants": []}) if study else manifest
        variants = [_variant_from(record, part, manifest, path.parent) for record in part["variants"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"the manifest '{path}' holds a record that cannot be used: {error!r}") from error
    if len({v.name for v in variants}) != len(variants):
        raise CheckpointError(f"the manifest '{path}' names a variant twice")
    return tuple(sorted(variants, key=_order))


def _order(variant: Variant) -> tuple[Any, ...]:
    p = variant.placement
    return (
        variant.base is not None,
        variant.backbone,
        variant.width,
        p is not None,
        *(
            (p.mode, p.module != "ulsam", p.gain != "published", len(p.layers), p.layers, p.groups, p.module)
            if p
            else ()
        ),
    )


def _variant_from(
    record: Mapping[str, Any], part: Mapping[str, Any], manifest: Mapping[str, Any], folder: Path
) -> Variant:
    file, base = record["file"], record.get("base")
    if file is None and base is None and part is manifest:
        raise ValueError(f"'{record['name']}' has neither a file nor a base")
    if file is not None and not re.fullmatch(r"[\w.\-]+\.safetensors", file):
        raise ValueError(f"'{file}' is not the plain name of a .safetensors file")
    if record["backbone"] not in BACKBONES:
        raise ValueError(f"unknown backbone '{record['backbone']}'")
    if base is not None and base not in BASES:
        raise ValueError(f"unknown base '{base}'")
    own, dtype = record.get("own", False), record.get("dtype", "float16")
    if dtype not in _DTYPES or (dtype != "float16" and not own):
        raise ValueError(f"'{record['name']}' has values of {dtype}")
    if (missing := {"top1", "top5", "ece", "pictures", "attention"} - record["metrics"].keys()) and not own:
        raise ValueError(f"'{record['name']}' has no {', '.join(sorted(missing))}")
    placement, dataset = placement_from(record["placement"]), record["classes"]
    repeats = [
        r
        for r in part.get("repeats", [])
        if r["name"] == record["name"] and _differ_by_seed(r["made_by"], record["made_by"])
    ]
    variant = Variant(
        name=str(record["name"]),
        backbone=record["backbone"],
        width=float(record["width"]),
        placement=placement,
        classes=tuple(manifest["classes"][dataset]) if dataset in manifest["classes"] else classes_of(dataset),
        preprocessing=_preprocessing_from(record["preprocessing"]),
        metrics=record["metrics"],
        made_by=record["made_by"],
        dataset=dataset,
        path=folder / file if file else None,
        sha256=record["sha256"],
        base=base,
        base_sha256=record["base_sha256"] if base else "",
        repeats=_measured_on_the_same(record["metrics"], repeats),
        control=_control_from(record, placement, manifest) if part is manifest else (),
        calibration=_calibration_from(record.get("calibration", {})),
        own=own,
        dtype=dtype,
    )
    # Others have accuracies alone
    others = [metrics for metrics in record["metrics"].get("others", ()) if "attention" in metrics]
    return replace(variant, elsewhere=tuple(_with_figures(variant, metrics, repeats) for metrics in others))


def _measured_on_the_same(
    metrics: Mapping[str, Any], repeats: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], ...]:
    """Return the records of repeats whose figures are of the same pictures."""
    return tuple(r for r in repeats if pictures_of(r["metrics"]) == pictures_of(metrics))


def _with_figures(variant: Variant, metrics: Mapping[str, Any], repeats: Sequence[Mapping[str, Any]]) -> Variant:
    """Return a variant with its figures on other test pictures."""
    calibration = Calibration(variant.calibration.temperature, metrics.get("calibration", {}).get("ece"))
    return replace(variant, metrics=metrics, repeats=_measured_on_the_same(metrics, repeats), calibration=calibration)


def _control_from(
    record: Mapping[str, Any], placement: Placement | None, manifest: Mapping[str, Any]
) -> tuple[Mapping[str, Any], ...]:
    """Return the records of the plain control of a network that is not compared with its backbone's usual one."""
    plain = variant_name(record["backbone"], record["width"], None)
    if placement and placement.mode == "instead":
        return tuple(c for c in manifest.get("controls_of_instead", []) if c["name"] == plain)
    if placement and placement.gain != "published" and not record.get("base"):
        study = manifest.get("studies", {}).get("gain", {"variants": []})  # a zoo of the user's own has none
        return tuple(r for r in (*study["variants"], *study.get("repeats", [])) if r["name"] == plain)
    return ()


def _preprocessing_from(record: Mapping[str, Any]) -> Preprocessing:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
    return Preprocessing(**values)


def _calibration_from(record: Mapping[str, Any]) -> Calibration:
    known, foreign = (tuple(float(v) for v in record.get(key, ())) for key in ("known", "foreign"))
    warned = tuple((str(which), float(share)) for which, share in record.get("warned", ()))
    calibration = Calibration(float(record.get("temperature", 1)), record.get("ece"), known, foreign, warned)
    if not (math.isfinite(calibration.temperature) and calibration.temperature > 0):
        raise ValueError(f"a temperature is a number above 0, not {calibration.temperature}")
    if any(list(spreads) != sorted(spreads) for spreads in (known, foreign)):
        raise ValueError("the spreads of a calibration do not rise")
    return calibration


def _differ_by_seed(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Return whether two runs differ in the seed alone: only then is their spread a noise level."""
    ours, theirs = (
        {**run["recipe"], "seed": None, "init_sha256": run["init_sha256"], "precision": precision_of(run)}
        for run in (a, b)
    )
    return ours == theirs and a["recipe"]["seed"] != b["recipe"]["seed"]


def precision_of(run: Mapping[str, Any]) -> str:
    """Return the precision that a run was trained in.

    Older records name it beside the recipe, the oldest not at all.
    """
    precision: str = run["recipe"].get("precision") or run.get("precision", "float32")
    return precision


def placement_from(record: Mapping[str, Any] | None) -> Placement | None:
    """Read a placement as records write it: ``{"layers": [11], "groups": 4, "mode": "after"}``, or None."""
    return Placement(**{**record, "layers": tuple(record["layers"])}) if record else None


def get_variant(name: str, folder: Path | None = None) -> Variant:
    """Return the record of a variant of the zoo, or of a study where it has weights.

    Raises:
        KeyError: If there is none of that name; the message suggests some.
    """
    variants = {v.name: v for v in list_variants(folder)}
    if name in variants:
        return variants[name]
    studied = {v.name: v for study in STUDIES for v in list_variants(folder, study=study) if v.path}
    if name in studied:
        return studied[name]
    near = get_close_matches(name, [*variants, *studied], 3)
    guess = f" do you mean {' or '.join(near)}?" if near else ""
    raise KeyError(f"no trained variant '{name}';{guess} `variants` lists them")


def usual_variant() -> Variant:
    """Return the network that commands take where none is named, and the app opens on: of those that are there.

    It knows most classes, and its modules stand where its backbone's usually do, with 4 groups; or as near to that as
    there is.

    Raises:
        CheckpointError: If there is no network at all.
    """
    variants = list_variants()
    if not variants:
        raise CheckpointError(f"there are no networks in '{CHECKPOINTS}': train one, or unset ULSAM_VIZ_CHECKPOINTS")
    first = min(variants, key=lambda v: (v.own, -len(v.classes)))

    def unusual(variant: Variant) -> tuple[bool, bool, bool, int]:
        p = variant.placement
        elsewhere = p is None or (p.mode, p.layers) != ("after", (BACKBONES[variant.backbone].usual_layer,))
        return variant.family != first.family, p is None, elsewhere, abs(variant.groups - 4)

    return min(variants, key=lambda v: (*unusual(v), v.gain != "published"))


def home_of(variant: Variant) -> tuple[Path, str]:
    """Return the folder whose manifest holds a variant, and its name there; two zoos may use one name.

    Raises:
        CheckpointError: If no folder that is shown holds it.
    """
    for folder, study in product(folders(), (None, *STUDIES)):
        try:
            held = _variants_in(folder, study)
        except CheckpointError:  # `problems` says so
            continue
        for v in held:
            if (v.path, v.sha256, v.placement) == (variant.path, variant.sha256, variant.placement):
                return folder, v.name
    raise CheckpointError(f"no manifest holds '{variant.name}'")


def build_network(variant: Variant) -> Network:
    """Return the network of a variant, in training form, without values: its tensors are on the meta device.

    Nothing is initialised, so nothing draws from the process's random generators, which another thread may have seeded.

    Raises:
        CheckpointError: If the manifest describes a network that cannot be.
    """
    try:
        with torch.device("meta"):
            return BACKBONES[variant.backbone](variant.width, len(variant.classes), variant.placement)
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(
            f"variant '{variant.name}' cannot be used: no such network can be built ({error})"
        ) from error


def load_network(variant: Variant) -> Network:
    """Load a variant's weights into its training form.

    The sha256 of the file and of the base, keys, shapes, dtype (float16; of own networks float32, too) and finiteness
    are verified before a value is used.

    Returns:
        The network in eval mode, float32, on the CPU.

    Raises:
        CheckpointError: Naming the variant, the file and what is wrong with it.
    """

    def refuse(reason: str) -> CheckpointError:
        return CheckpointError(f"variant '{variant.name}' cannot be used: {reason}")

    if variant.base and variant.base_sha256 != BASES[variant.base].sha256:
        raise refuse(f"its modules were trained in other weights of {variant.base} than those of this program")
    try:
        inherited = load_base(variant.base) if variant.base else {}
    except BaseError as error:
        raise refuse(str(error)) from error
    network = build_network(variant)
    weights = variant.weights or (_read_file(variant, refuse) if variant.path else {})
    load_weights(network, weights, inherited, dtype=_DTYPES[variant.dtype], refuse=refuse)
    return network.eval()


def _read_file(variant: Variant, refuse: Callable[[str], CheckpointError]) -> dict[str, Tensor]:
    assert variant.path is not None
    file = f"its checkpoint '{variant.path.name}'"
    try:
        data = variant.path.read_bytes()
    except OSError as error:
        raise refuse(f"{file} cannot be read ({error.strerror or error})") from error
    if hashlib.sha256(data).hexdigest() != variant.sha256:
        raise refuse(f"{file} ({len(data)} bytes) is damaged or another file: its sha256 is not the manifest's")
    try:
        return parse_safetensors(data)
    except Exception as error:  # the parser raises its own type, which is not part of its documented interface
        raise refuse(f"{file} is no readable safetensors file ({error})") from error


def load_weights(
    network: Network,
    weights: Mapping[str, Tensor],
    inherited: Mapping[str, Tensor] | None = None,
    *,
    dtype: torch.dtype = torch.float16,
    refuse: Callable[[str], Exception] = CheckpointError,
) -> None:
    """Give a network weights, as float32, of exactly the keys and shapes that it does not inherit from a base.

    Args:
        network: It is changed.
        weights: Of a checkpoint's file.
        inherited: Float32 weights of the base; copied.
        dtype: That they must have.
        refuse: Makes the error that is raised, from its reason.
    """
    inherited = inherited or {}
    counters = {key: torch.tensor(0) for key in network.state_dict() if key.endswith("num_batches_tracked")}
    own = {key: value for key, value in network.state_dict().items() if key not in counters and key not in inherited}
    if missing := own.keys() - weights.keys():
        raise refuse(f"its checkpoint lacks {len(missing)} tensors, '{sorted(missing)[0]}' among them")
    if unknown := weights.keys() - own.keys():
        raise refuse(f"its checkpoint holds {len(unknown)} unknown tensors, '{sorted(unknown)[0]}' among them")
    for key, value in weights.items():
        if value.shape != own[key].shape:
            raise refuse(f"its checkpoint has shape {tuple(value.shape)} for '{key}', expected {tuple(own[key].shape)}")
        if value.dtype != dtype:
            raise refuse(f"its checkpoint has dtype {value.dtype} for '{key}', expected {dtype}")
        if not torch.isfinite(value).all():
            raise refuse(f"its checkpoint has values that are not finite in '{key}'")
    own_values = {key: value.float() for key, value in weights.items()}
    # Copies: a host that trains on must not change the base of all others.
    network.load_state_dict(
        own_values | {key: value.clone() for key, value in inherited.items()} | counters, assign=True
    )


def load_variant(name: str, device: str | torch.device = "cpu") -> Network:
    """Load a variant ready for inference.

    Args:
        name: A name from :func:`list_variants`.
        device: Where to put it, e.g. ``"cpu"`` or ``"cuda"``.

    Returns:
        A new network in eval mode: BatchNorm folded, fast ULSAM, no gradients of parameters.

    Raises:
        KeyError: For an unknown name.
        CheckpointError: If its checkpoint is missing or damaged.
    """
    return optimize(load_network(get_variant(name))).to(device)


def top1_standard_error(variant: Variant) -> float:
    """Return one standard error of the variant's top-1, in points: the binomial sqrt(p (1 - p) / n).

    NaN where that is unknown.
    """
    if not {"top1", "pictures"} <= variant.metrics.keys():
        return math.nan
    p, n = variant.metrics["top1"] / 100, variant.metrics["pictures"]
    return 100 * math.sqrt(p * (1 - p) / n)
