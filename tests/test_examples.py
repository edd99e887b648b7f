"""The guide and the notebook run as they stand, in an empty folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ulsam_viz.cli.program import main
from ulsam_viz.images.preprocessing import prepare
from ulsam_viz.zoo.variants import get_variant, load_variant

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(cells: list[str], name: str) -> dict[str, Any]:
    own: dict[str, Any] = {"__name__": "example"}
    for i, cell in enumerate(cells, start=1):
        exec(compile(cell, f"{name}, part {i}", "exec"), own)
    return own


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ULSAM_VIZ_OWN", str(tmp_path / "own"))
    return tmp_path


def test_what_the_guide_trains_is_shown_beside_the_zoo(there: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("cats", "dogs", "eggs"):
        (there / "photos" / label).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(rng.integers(0, 255, (80, 90, 3), dtype=np.uint8)).save(
                there / "photos" / label / f"{i}.jpg"
            )
    torch.manual_seed(0)
    text = (EXAMPLES / "train_your_own.md").read_text()
    own = run(re.findall(r"```python\n(.*?)```", text, re.DOTALL), "train_your_own.md")
    seen = own["seen"]
    assert list(seen.attention) == ["features.13"] and seen.attention["features.13"].shape == (4, 14, 14)
    assert seen.classes == ("cats", "dogs", "eggs") and set(seen.attributions) == {"grad_cam"}
    assert {"sheet.png", "numbers.npz", "settings.json", "attention-features.13-1.svg"} <= {
        p.name for p in (there / "seen").iterdir()
    }
    (added,) = re.findall(r"^ulsam-viz (add .*?)  +#", text, re.MULTILINE)
    assert main(added.split()) == 0
    variant = get_variant("mine")
    assert variant.placement and (variant.placement.layers, variant.groups) == ((14,), 4)
    x = prepare(Image.open(there / "photos" / "cats" / "0.jpg").convert("RGB"), variant.preprocessing).tensor
    with torch.inference_mode():  # the file as the pages read it is the network that was trained
        logits, maps = load_variant("mine").forward_with_attention(x)
        expected, expected_maps = own["network"].forward_with_attention(x)
    scale = expected.abs().max()
    torch.testing.assert_close(logits / scale, expected / scale, atol=1e-4, rtol=0)
    torch.testing.assert_close(maps[14], expected_maps["features.13"], atol=1e-5, rtol=1e-3)


def test_the_notebook_runs(there: Path) -> None:
    notebook = json.loads((EXAMPLES / "what_attention_does.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    own = run(code, "what_attention_does.ipynb")
    assert own["seen"]._repr_png_().startswith(b"\x89PNG")
    assert (there / "seen" / "sheet.png").exists()
    assert not any(cell.get("outputs") for cell in notebook["cells"])
