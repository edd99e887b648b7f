"""ulsam_viz: see how subspace attention (ULSAM, WACV 2020) works, on trained networks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .explanation import Explanation, explain
    from .images.preprocessing import ImageError, Preprocessing, decode_image, prepare
    from .models.adapter import insert_ulsam
    from .models.attention_network import AttentionNetwork
    from .models.cost import Cost, count_cost
    from .models.mobilenet import MobileNetV1, MobileNetV2
    from .models.network import Placement
    from .models.optimize import optimize
    from .models.ulsam import ULSAM
    from .zoo.variants import CheckpointError, Variant, list_variants, load_variant

__version__ = "0.1.0"  # the one place: pyproject.toml reads it here

__all__ = [
    "ULSAM",
    "AttentionNetwork",
    "CheckpointError",
    "Cost",
    "Explanation",
    "ImageError",
    "MobileNetV1",
    "MobileNetV2",
    "Placement",
    "Preprocessing",
    "Variant",
    "count_cost",
    "decode_image",
    "explain",
    "insert_ulsam",
    "list_variants",
    "load_variant",
    "optimize",
    "prepare",
]

# Names are imported when they are first used: torch takes seconds, and the app shows its first picture without it.
_HOMES = {
    "ULSAM": ".models.ulsam",
    "AttentionNetwork": ".models.attention_network",
    "CheckpointError": ".zoo.variants",
    "Cost": ".models.cost",
    "Explanation": ".explanation",
    "ImageError": ".images.preprocessing",
    "Preprocessing": ".images.preprocessing",
    "prepare": ".images.preprocessing",
    "MobileNetV1": ".models.mobilenet",
    "MobileNetV2": ".models.mobilenet",
    "Placement": ".models.network",
    "Variant": ".zoo.variants",
    "count_cost": ".models.cost",
    "decode_image": ".images.preprocessing",
    "explain": ".explanation",
    "insert_ulsam": ".models.adapter",
    "list_variants": ".zoo.variants",
    "load_variant": ".zoo.variants",
    "optimize": ".models.optimize",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name], __name__), name)
    return value
