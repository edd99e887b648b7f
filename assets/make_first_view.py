"""Compute the view that the app opens on, from the shipped network: ``python -m assets.make_first_view``.

The result is committed; a test computes it again.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from ulsam_viz.engine.engine import default_engine
from ulsam_viz.images.preprocessing import decode_image, prepare
from ulsam_viz.images.samples import list_samples
from ulsam_viz.ui.first_view import FILE, FirstView
from ulsam_viz.ui.inspect.summary import about_network, answers_of, chip
from ulsam_viz.ui.run.scene import channels_of
from ulsam_viz.zoo.variants import get_variant

VARIANT = "efficientnet_lite0-after12-g4"
_DIGITS = 6  # of a map's values, which sum to 1


def compute_first_view() -> FirstView:
    """Compute the view, on the CPU.

    Raises:
        CheckpointError: If the network cannot be loaded.
    """
    variant, sample = get_variant(VARIANT), list_samples()[0]
    crop = prepare(decode_image(sample.path.read_bytes()), variant.preprocessing)
    seen = default_engine().attend(crop, variant).result()
    ((layer, maps),) = seen.maps.items()
    answers = answers_of(seen, variant, target=seen.top(1)[0])
    channels = channels_of(variant, layer)
    return FirstView(
        sample.path.stem, variant.preprocessing, chip(variant), about_network(variant), answers, layer, channels, maps
    )


def main() -> None:
    """Write the view's file."""
    view = compute_first_view()
    record = asdict(view) | {"maps": [[[round(float(v), _DIGITS) for v in row] for row in one] for one in view.maps]}
    FILE.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
