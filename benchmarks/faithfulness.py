"""Count how often attention, attributions and fresh random maps are called better than random maps.

python -m benchmarks.faithfulness FOLDER [--variants NAME ...] [--pictures N]
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from ulsam_viz.analysis.attention import attend
from ulsam_viz.analysis.attribution import attribute
from ulsam_viz.analysis.computations import baseline_of
from ulsam_viz.analysis.faithfulness import GRIDS, measure, measure_baselines, smooth_random_map
from ulsam_viz.analysis.verdicts import standings
from ulsam_viz.images.preprocessing import decode_image, prepare
from ulsam_viz.models.optimize import optimize
from ulsam_viz.zoo.variants import get_variant, load_network

FRESH = 8  # random maps on each grid, drawn from other seeds than the baselines
METHODS = ("grad_cam", "saliency")


def count(name: str, paths: list[Path]) -> None:
    """Print for one network how many maps of each kind are better than random ones beyond chance."""
    variant = get_variant(name)
    fast = optimize(load_network(variant))
    better: Counter[tuple[str, str]] = Counter()
    of: Counter[str] = Counter()
    for i, path in enumerate(paths):
        x = prepare(decode_image(path.read_bytes()), variant.preprocessing).tensor
        seen = attend(fast, x)
        target = int(seen.logits.argmax())
        maps = {
            f"random, {grid} x {grid}": [
                smooth_random_map(x.shape[-1], (1000, grid, i, n), grid=grid) for n in range(FRESH)
            ]
            for grid in GRIDS
        }
        maps["mean of the last attention"] = [list(seen.maps.values())[-1].mean(0)]
        for method in METHODS:
            maps[method] = [
                attribute(fast, x, target=target, method=method, preprocessing=variant.preprocessing).values
            ]
        how: dict[str, Any] = {
            "target": target,
            "blank": baseline_of(x, "grey", variant.preprocessing),
            "blurred": baseline_of(x, "blurred", variant.preprocessing),
            "temperature": variant.calibration.temperature,
        }
        beside = measure_baselines(fast, x, **how)
        scores = measure(
            fast, x, {f"{kind}/{n}": values for kind, group in maps.items() for n, values in enumerate(group)}, **how
        )
        for key, score in scores.items():
            kind = key.split("/")[0]
            of[kind] += 1
            for curve, standing in zip(("insertion", "deletion"), standings(score, beside), strict=True):
                better[kind, curve] += standing.better
        print(f"{name}: {i + 1} of {len(paths)} pictures", flush=True)
    print(f"{name}: {len(paths)} pictures; maps better than random ones beyond chance")
    for kind, n in of.items():
        print(
            f"  {kind:28} insertion {better[kind, 'insertion']:3} of {n:3}, deletion {better[kind, 'deletion']:3} of "
            f"{n:3}"
        )


def main() -> None:
    """Count for the networks that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="photographs")
    parser.add_argument(
        "--variants", nargs="+", default=["mobilenet_v1-0.5-after11-g4", "efficientnet_lite0-after12-g4"]
    )
    parser.add_argument(
        "--pictures", type=int, default=10, help="how many, evenly spread over the folder (default: %(default)s)"
    )
    args = parser.parse_args()
    paths = sorted(path for path in args.folder.iterdir() if path.suffix in (".jpg", ".png", ".webp"))
    chosen = [paths[i * len(paths) // args.pictures] for i in range(args.pictures)]
    for name in args.variants:
        count(name, chosen)


if __name__ == "__main__":
    main()
