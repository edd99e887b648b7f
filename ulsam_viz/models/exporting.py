"""A network for other programs: as an exported PyTorch program, or as ONNX; logits and maps, for batches of any size.

from ulsam_viz.models.exporting import export_onnx, export_program
network = load_variant("mobilenet_v1-0.5-after11-g4")  # or one as trained, or what insert_ulsam returned
example = torch.zeros(1, 3, 224, 224)
logits, maps = export_program(network, example).module()(torch.rand(8, 3, 224, 224))  # maps["11"]: (8, 4, 14, 14)
export_onnx(network, example, "network.onnx")  # input "pictures"; outputs "logits", "maps_11"
"""

from __future__ import annotations

import copy
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class LogitsAndMaps(nn.Module):
    """A network as a function of one tensor, for pictures of one size.

    Args:
        network: An :class:`~.attention_network.AttentionNetwork`; it is copied, and in eval mode here.
        example: Normalised pictures, shape (N, C, H, W).
    """

    def __init__(self, network: Any, example: Tensor) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        with torch.no_grad():
            _, maps = self.network.forward_with_attention(example)
        # Exporters do not follow sides through every step: said here, outputs have them.
        self.shapes = {layer: tuple(values.shape[1:]) for layer, values in maps.items()}

    def forward(self, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits (N, classes), and the maps (N, g, H_l, W_l) by the layers' names."""
        logits, maps = self.network.forward_with_attention(pictures)
        return logits, {str(layer): maps[layer].reshape(-1, *shape) for layer, shape in self.shapes.items()}


def export_program(network: Any, example: Tensor) -> torch.export.ExportedProgram:
    """Export a network by :func:`torch.export.export`, for batches of any size.

    Args:
        network: As trained, optimised, or adapted; it is not changed.
        example: Normalised pictures, shape (N, C, H, W); one is enough, although PyTorch would take a batch of one for
            the only size that there is.

    Returns:
        The program; its ``module()`` takes pictures of the example's size, and returns what :class:`LogitsAndMaps`
        does.
    """
    form = LogitsAndMaps(network, example)
    several = example if len(example) > 1 else example.repeat(2, 1, 1, 1)
    return torch.export.export(form, (several,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def export_onnx(network: Any, example: Tensor, path: str | Path, *, opset: int = 17) -> Path:
    """Write a network as ONNX, for batches of any size: input ``pictures``, outputs ``logits`` and ``maps_<layer>``.

    Args:
        network: As trained, optimised, or adapted; it is not changed.
        example: Normalised pictures, shape (N, C, H, W), of the only size H, W that the file is for.
        path: The file to write.
        opset: Version of ONNX's operators.

    Returns:
        The path.

    Raises:
        ImportError: If the package ``onnx`` is not installed.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ImportError("PyTorch writes ONNX with the package onnx, which is not installed: pip install onnx")
    form = _Flat(network, example)
    names = ["logits", *(f"maps_{layer}" for layer in form.shapes)]
    with warnings.catch_warnings():
        # That sizes are followed as numbers is meant; and the exporter that needs no further package is called the old
        # one.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            form,
            (example,),
            path,
            input_names=["pictures"],
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in ("pictures", *names)},
            opset_version=opset,
            dynamo=False,
        )
    return Path(path)


class _Flat(LogitsAndMaps):
    """The same with one tuple as its output, which ONNX wants."""

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        logits, maps = super().forward(pictures)
        return logits, *maps.values()
