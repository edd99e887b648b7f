"""ulsam_viz: see how subspace attention (ULSAM, WACV 2020) works, on trained networks."""

from .cost import Cost, count_cost
from .explanation import Explanation, explain
from .images import ImageError, decode_image
from .models.mobilenet import MobileNetV1, MobileNetV2
from .models.network import Placement
from .models.optimize import optimize
from .models.ulsam import ULSAM
from .zoo import CheckpointError, Variant, list_variants, load_variant

__all__ = [
    "ULSAM",
    "CheckpointError",
    "Cost",
    "Explanation",
    "ImageError",
    "MobileNetV1",
    "MobileNetV2",
    "Placement",
    "Variant",
    "count_cost",
    "decode_image",
    "explain",
    "list_variants",
    "load_variant",
    "optimize",
]
