"""Programs with another default dtype, networks in another precision, settings that threads share, and networks of one
output.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ulsam_viz.engine.engine as engine
from tests.patience import PATIENCE
from ulsam_viz import Explanation, explain, insert_ulsam, load_variant
from ulsam_viz.analysis.methods import METHODS
from ulsam_viz.images.preprocessing import Preprocessing
from ulsam_viz.models.adapter import AttendedModel
from ulsam_viz.models.cost import count_cost, measure_module
from ulsam_viz.models.network import Network, Placement
from ulsam_viz.models.precision import float32_by_default, whole_float32
from ulsam_viz.report.document import as_html
from ulsam_viz.zoo.live_model import as_guest
from ulsam_viz.zoo.user_networks import read_checkpoint
from ulsam_viz.zoo.variants import CheckpointError

NAME = "mobilenet_v1-0.5-after11-g4"
PRE = Preprocessing(64)
QUESTIONS = ("ablation", "shapley", "sources", "through", "places")
OTHER_DEFAULTS = (torch.float64, torch.bfloat16)


@pytest.fixture(params=OTHER_DEFAULTS, ids=str)
def other_default(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Set another default when it is called; put back what was."""
    yield lambda: torch.set_default_dtype(request.param)
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forget all results when it is called."""
    return lambda: monkeypatch.setattr(engine, "_default", engine.Engine(workers=1))


def numbers_of(seen: Explanation, asked: dict[Any, Any]) -> dict[str, np.ndarray]:
    """Return everything that was found, as arrays by name."""
    found: dict[str, np.ndarray] = {"pixels": seen.pixels}
    plain = seen.reported(asked=asked).found(found)
    found |= {"logits": seen.logits, "probabilities": seen.probabilities, **seen.attributions}
    found |= {f"maps {layer}": maps for layer, maps in seen.attention.items()}

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(f"{name}.{key}", item)
        elif isinstance(value, list):
            for i, item in enumerate(value):
                walk(f"{name}.{i}", item)
        elif isinstance(value, int | float) and not name.endswith("seconds"):
            found[name] = np.array(value, dtype=np.float64)

    walk("", plain)
    return found


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], rtol: float) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        size = max(float(np.abs(values).max()), 1e-6)
        np.testing.assert_allclose(found[name], values, rtol=rtol, atol=rtol * size + 1e-6, err_msg=name)


def test_another_default_dtype_changes_nothing_and_is_left_as_it_is(
    other_default: Callable[[], None], fresh: Callable[[], None], lively: Callable[..., Network], astronaut: Image.Image
) -> None:
    network = lively("mobilenet_v1", Placement((11,), 2))

    def look() -> dict[str, np.ndarray]:
        fresh()
        seen = explain(astronaut, network, tuple(METHODS), 2, preprocessing=PRE)
        return numbers_of(seen, seen.ask(*QUESTIONS))

    expected = look()
    other_default()
    default = torch.get_default_dtype()
    found = look()
    assert torch.get_default_dtype() is default
    same(found, expected, 1e-5)


def test_variants_are_the_same_whatever_the_default_is(
    other_default: Callable[[], None], fresh: Callable[[], None], astronaut: Image.Image
) -> None:
    expected, cost = explain(astronaut, NAME), count_cost(load_variant(NAME), 224)
    other_default()
    fresh()
    found, network = explain(astronaut, NAME), load_variant(NAME)
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-5)
    np.testing.assert_allclose(found.attributions["grad_cam"], expected.attributions["grad_cam"], rtol=1e-4, atol=1e-5)
    assert count_cost(network, 224) == cost
    assert measure_module(16, 4, 7, 7, network=network, input_size=64, repeats=2).loop > 0


def test_only_what_has_no_dtype_of_its_own_becomes_float32_and_only_in_this_thread(
    other_default: Callable[[], None],
) -> None:
    other_default()
    default = torch.get_default_dtype()
    elsewhere: list[torch.dtype] = []
    with float32_by_default():
        thread = threading.Thread(target=lambda: elsewhere.append(torch.zeros(2).dtype))
        thread.start()
        thread.join()
        made = [torch.zeros(2), torch.rand(2), torch.tensor([0.5]), torch.full((2,), 0.5), torch.arange(0.0, 1.0, 0.5)]
        assert {value.dtype for value in made} == {torch.float32}
        assert float(torch.tensor(0.1)) == float(np.float32(0.1))  # not rounded on its way
        assert (
            torch.tensor([1, 2]).dtype == torch.arange(3).dtype == torch.int64
            and torch.full((2,), True).dtype == torch.bool
        )
        assert torch.tensor(np.zeros(2)).dtype == torch.ones(2, dtype=torch.float64).dtype == torch.float64
    assert elsewhere == [torch.zeros(2).dtype] == [default]


class Host(nn.Module):
    """A small network; it may cast its input as only one precision of its weights can bear."""

    def __init__(self, outputs: int = 3, cast: torch.dtype | None = None) -> None:
        super().__init__()
        self.cast = cast
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=8, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(x.to(self.cast) if self.cast else x).mean((2, 3)))
        return out


def hosted(**how: Any) -> AttendedModel:
    torch.manual_seed(3)
    host = Host(**how)
    return insert_ulsam(host.to(host.cast or torch.float32), {"features": 2}, example=torch.zeros(1, 3, 64, 64)).eval()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_a_live_model_in_another_precision_is_looked_at_in_a_float32_copy_that_says_so(
    dtype: torch.dtype, astronaut: Image.Image
) -> None:
    network = hosted().to(dtype)
    methods = ("grad_cam", "saliency", "integrated_gradients", "occlusion")
    seen = explain(astronaut, network, methods, preprocessing=PRE)
    expected = explain(astronaut, hosted().to(dtype).float(), methods, preprocessing=PRE)
    same(numbers_of(seen, seen.ask(*QUESTIONS)), numbers_of(expected, expected.ask(*QUESTIONS)), 1e-5)
    assert {value.dtype for value in network.parameters()} == {dtype}
    name = str(dtype).removeprefix("torch.")
    assert f"copy of the network, which is in {name}" in as_html(seen.reported()) and name not in as_html(
        expected.reported()
    )


def test_a_network_that_runs_in_no_other_precision_is_refused_in_a_sentence(astronaut: Image.Image) -> None:
    with pytest.raises(ValueError, match=r"is in bfloat16, and a copy in float32 does not run .* model.float\(\)"):
        explain(astronaut, hosted(cast=torch.bfloat16), preprocessing=PRE)


def test_a_network_of_one_output_is_refused_with_the_reason(
    astronaut: Image.Image, lively: Callable[..., Network]
) -> None:
    with pytest.raises(ValueError, match=r"one output, and a softmax over one output is 100.0 % for every picture"):
        explain(astronaut, hosted(outputs=1), preprocessing=PRE)
    assert len(as_guest(hosted(outputs=2), None, PRE).classes) == 2
    import safetensors.torch

    data = safetensors.torch.save(lively("mobilenet_v1", Placement((11,), 4), classes=1).state_dict())
    with pytest.raises(CheckpointError, match=r"'one.safetensors' cannot be used: it has one output"):
        read_checkpoint(data, "one.safetensors")


def test_threads_that_overlap_leave_the_settings_as_the_first_one_found_them() -> None:
    """The first ends while the second still computes, which must not lose the setting, nor leave it behind."""
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]

    def settings() -> tuple[Any, ...]:
        matmul: Any = torch.backends.cuda.matmul
        return conv.fp32_precision, matmul.fp32_precision

    before, seen = settings(), []
    entered, first_has_left = threading.Barrier(2, timeout=PATIENCE), threading.Event()

    def first() -> None:
        with whole_float32():
            entered.wait()
        first_has_left.set()

    def second() -> None:
        entered.wait()  # the first one is within
        with whole_float32():
            assert first_has_left.wait(PATIENCE)
            seen.append(settings())

    def overlap() -> None:
        threads = [threading.Thread(target=run) for run in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    overlap()
    assert seen == [("ieee", "ieee")]
    assert settings() == before
