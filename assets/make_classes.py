"""Write the names of ImageNet's 1,000 classes, in the order of the networks' outputs, as torchvision gives them.

    python -m assets.make_classes

The result is committed: to import torchvision for names alone would take a third of the app's start, and 90 MB.
"""

from __future__ import annotations

import json
from pathlib import Path

from torchvision.models import EfficientNet_B0_Weights

if __name__ == "__main__":
    names = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]
    (Path(__file__).parent / "imagenet1k.json").write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
