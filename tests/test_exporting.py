"""Exported networks: the same logits and maps for batches of any size, by PyTorch's own program and by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from torch import nn

from ulsam_viz import insert_ulsam, optimize
from ulsam_viz.models.exporting import export_onnx, export_program
from ulsam_viz.models.network import Network, Placement

NETWORKS: dict[str, Callable[[Callable[..., Network]], nn.Module]] = {
    "two modules": lambda lively: lively("mobilenet_v1", Placement((6, 11), 4)),
    "normalised": lambda lively: lively("mobilenet_v1", Placement((11,), 4, gain="normalised")),
    "EfficientNet-Lite0": lambda lively: lively("efficientnet_lite0", Placement((12,), 16)),
    "a module of another paper": lambda lively: lively("mobilenet_v1", Placement((11,), 1, module="cbam")),
    "adapted": lambda _: insert_ulsam(torchvision.models.resnet18(num_classes=7).eval(), {"layer2.1": 4, "layer3": 8}),
}


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        *((kind, form) for kind in ("two modules", "adapted") for form in ("as trained", "optimised")),
        ("normalised", "optimised"),
        ("a module of another paper", "as trained"),
        ("EfficientNet-Lite0", "optimised"),
    ],
)
def test_an_example_of_one_picture_serves_any_batch(
    kind: str, form: str, lively: Callable[..., Network], tmp_path: Path
) -> None:
    network = NETWORKS[kind](lively)
    network = optimize(network) if form == "optimised" else network
    example, pictures = torch.zeros(1, 3, 64, 64), torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, expected_maps = network.forward_with_attention(pictures)  # type: ignore[operator]
        logits, maps = export_program(network, example).module()(pictures)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    assert list(maps) == [str(layer) for layer in expected_maps]
    for found, wanted in zip(maps.values(), expected_maps.values(), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)

    session = onnxruntime.InferenceSession(export_onnx(network, example, tmp_path / "network.onnx"))
    outputs = session.get_outputs()
    assert [o.name for o in outputs] == ["logits", *(f"maps_{layer}" for layer in expected_maps)]
    assert [o.shape for o in outputs] == [["batch", *v.shape[1:]] for v in (expected, *expected_maps.values())]
    for count in (3, 1):
        computed = session.run(None, {"pictures": pictures[:count].numpy()})
        np.testing.assert_allclose(computed[0], expected[:count].numpy(), atol=1e-4, rtol=1e-4)
        for found, wanted in zip(computed[1:], expected_maps.values(), strict=True):
            np.testing.assert_allclose(found, wanted[:count].numpy(), atol=1e-5, rtol=1e-4)
