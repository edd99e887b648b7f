"""Find state dicts inside what training scripts save: dictionaries, name prefixes, and averages (EMA)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from torch import Tensor

from .variants import CheckpointError

#: The weights as the optimiser left them, or their exponential moving average.
Kind = Literal["raw", "ema"]
KINDS: tuple[Kind, ...] = ("ema", "raw")
#: What training scripts call the state dict in the dictionary that they save.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "model_state", "weights", "params")
REMEDY = "save model.state_dict() alone, or write it as .safetensors"

_INSIDE_AVERAGES = (*WRAPPERS, "module", "shadow")
# Compilers and parallel wrappers put these before the names of what they wrap, wherever that stands.
_ANYWHERE = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Whatever holds a network as its one part puts that attribute's name before all others.
_AROUND_ALL = ("model", "net", "network", "backbone", "encoder", "student", "teacher")
_COUNTERS = ("n_averaged", "num_updates", "decay")
_NONE = f"it holds no state dict, by itself or under {', '.join(WRAPPERS)}; {REMEDY}"


def choose_weights(found: object, wish: Kind | None = None) -> tuple[dict[str, Tensor], Kind | None, str]:
    """Return the weights of one network in a saved object.

    Args:
        found: What a file holds: a state dict, or a dictionary around one or two.
        wish: Which are taken where raw ones and their average are there; None is the average, by which most scripts
            measure.

    Returns:
        Tensors by name, without what wrappers put before the names; which were taken, None where there was no choice;
        and a sentence that says so, or "".

    Raises:
        CheckpointError: If there is no state dict, or not the one that was wished for.
    """
    kinds = _split(found)
    if wish and wish not in kinds:
        there, missing = ("averaged (EMA)", "raw") if wish == "raw" else ("raw", "averaged (EMA)")
        raise CheckpointError(f"it holds {there} weights alone, no {missing} ones")
    taken: Kind = wish or ("ema" if "ema" in kinds else "raw")
    tensors = plain_names(_tensors_of(kinds[taken]))
    if len(kinds) == 1:
        return tensors, None, "Its averaged weights (EMA) were taken; it holds no others." if taken == "ema" else ""
    title = {"ema": "averaged ones (EMA)", "raw": "raw ones"}[taken]
    other = "raw" if taken == "ema" else "ema"
    return (
        tensors,
        taken,
        f"It holds raw weights and their average (EMA); the {title} were taken (to choose: --weights {other}, or “Its "
        "weights” on the page).",
    )


def _split(found: object) -> dict[Kind, Mapping[Any, Any]]:
    """Tell raw weights from averaged ones, at most three dictionaries deep."""
    for _ in range(3):
        if not isinstance(found, dict):
            break
        raw = next((found[key] for key in WRAPPERS if isinstance(found.get(key), dict)), None)
        average = next((v for k, v in found.items() if isinstance(v, dict) and _is_average(k)), None)
        if average is not None and (unwrapped := _unwrapped(average)) is not None:
            return {"ema": unwrapped} if raw is None else {"raw": _unwrapped(raw) or raw, "ema": unwrapped}
        if raw is None:
            return _split_names(found)
        found = raw
    raise CheckpointError(_NONE)


def _is_average(name: object) -> bool:
    return isinstance(name, str) and bool({"ema", "shadow"} & {*re.split(r"[_\d]+", name.lower())})


def _unwrapped(found: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    """Return the state dict in a dictionary, None if there is none."""
    for _ in range(3):
        if any(isinstance(value, Tensor) and value.ndim for value in found.values()):
            return found
        inner = next((found[key] for key in _INSIDE_AVERAGES if isinstance(found.get(key), dict)), None)
        if inner is None:
            return None
        found = inner
    return None


def _split_names(found: Mapping[Any, Any]) -> dict[Kind, Mapping[Any, Any]]:
    """Split one state dict whose names begin with ``model.`` and ``model_ema.``, as Lightning's do."""
    averaged = {
        key: value for key, value in found.items() if isinstance(key, str) and _is_average(key.partition(".")[0])
    }
    rest = {key: value for key, value in found.items() if key not in averaged}
    averaged = {key.partition(".")[2]: value for key, value in averaged.items() if "." in key}
    if not averaged or not rest:
        return {"ema": averaged} if averaged else {"raw": rest}
    return {"raw": rest, "ema": averaged}


def _tensors_of(found: Mapping[Any, Any]) -> dict[str, Tensor]:
    tensors = {key: value for key, value in found.items() if isinstance(value, Tensor) and isinstance(key, str)}
    if not tensors:
        raise CheckpointError(_NONE)
    if other := [key for key in found if key not in tensors]:
        shown = "".join(c if c.isprintable() else "?" for c in str(other[0])[:60])
        raise CheckpointError(f"beside tensors it holds {len(other)} other values, '{shown}' among them; {REMEDY}")
    return tensors


def plain_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Strip the prefixes that compilers, parallel wrappers and enclosing modules add to names, in any nesting.

    ``_orig_mod.`` and ``module.`` go wherever they stand; ``model.`` and the like where all names begin so. Where two
    names would become one, they stay as they are. Counters of averaging are left out.
    """
    kept = {k: v for k, v in tensors.items() if not (v.ndim == 0 and k.rpartition(".")[2] in _COUNTERS)}
    names = {key: _without(key.split(".")) for key in kept}
    if len({*names.values()}) != len(names):
        names = {key: key for key in kept}
    while (first := _shared_first(names.values())) in _AROUND_ALL:
        names = {key: name.removeprefix(f"{first}.") for key, name in names.items()}
    return {names[key]: value for key, value in kept.items()}


def _without(parts: Collection[str]) -> str:
    *path, last = parts
    return ".".join([*(part for part in path if part not in _ANYWHERE), last])


def _shared_first(names: Iterable[str]) -> str | None:
    """Return the first part of all names, if they share it and something follows it."""
    firsts = {name.partition(".")[0] if "." in name else "" for name in names}
    return firsts.pop() if len(firsts) == 1 else None
