"""Every offered Captum method is right on both networks, leaves them as they were, and says what it cost."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from captum.attr import (
    DeepLift,
    GradientShap,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from torch import Tensor, nn

from tests.patience import PATIENCE
from ulsam_viz import Placement, load_variant
from ulsam_viz.analysis.attribution import attribute
from ulsam_viz.analysis.computations import AttributionError
from ulsam_viz.analysis.methods import METHODS
from ulsam_viz.analysis.rescale import rescalable
from ulsam_viz.analysis.sources import attribute_attention
from ulsam_viz.images import ModelInput, Preprocessing
from ulsam_viz.models.network import Network
from ulsam_viz.models.optimize import optimize

NETWORKS = [
    ("mobilenet_v1", Placement((11,), 4)),
    ("mobilenet_v2", Placement((11, 14), 4)),
    ("mobilenet_v2", None),
    ("efficientnet_lite0", Placement((9, 12), 4)),
]
PRE = Preprocessing(96)


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda n: f"{n[0]}-{n[1] and n[1].layers}")
def model(request: pytest.FixtureRequest, lively: Callable[..., Network]) -> Network:
    return lively(*request.param)


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(4))


def run(model: Network, x: Tensor, method: str, **settings: object) -> np.ndarray:
    return attribute(optimize(model), x, method=method, target=3, preprocessing=PRE, settings=settings).values


@pytest.mark.parametrize("method", METHODS)
def test_a_method_gives_finite_numbers_of_its_sign_and_leaves_the_network_alone(model: Network, x: Tensor, method: str) -> None:
    fast = optimize(model)
    state = {k: v.clone() for k, v in fast.state_dict().items()}
    before, given = x.clone(), fast(x)
    result = attribute(fast, x, method=method, target=3, preprocessing=PRE)
    assert result.values.shape == (96, 96)
    assert np.isfinite(result.values).all()
    assert result.values.std() > 0
    assert result.signed == METHODS[method].signed
    assert (result.values.min() < 0) == result.signed
    assert result.passes == METHODS[method].passes(METHODS[method].complete({}), 96)
    again = attribute(fast, x, method=method, target=3, preprocessing=PRE)
    assert np.array_equal(result.values, again.values)
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert torch.equal(fast(x), given)
    assert all(torch.equal(v, state[k]) for k, v in fast.state_dict().items())
    assert not any(p.requires_grad for p in fast.parameters())
    for module in fast.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
        assert not module._forward_pre_hooks


def close(ours: np.ndarray, theirs: Tensor) -> None:
    expected = theirs.detach().numpy()
    assert np.abs(ours - expected).max() < 2e-3 * np.abs(expected).max()


def test_plain_captum_on_the_network_as_trained_says_the_same(model: Network, x: Tensor) -> None:
    """Our optimised network, batches and settings against Captum's defaults on the unoptimised one, in float64."""
    model = copy.deepcopy(model).double()
    x = x.double()
    close(run(model, x, "saliency"), Saliency(model).attribute(x.clone(), target=3)[0].amax(0))
    expected = IntegratedGradients(model).attribute(x.clone(), target=3, n_steps=32)
    close(run(model, x, "integrated_gradients", steps=32), expected[0].sum(0))
    cam = LayerGradCam(model, model.head).attribute(x.clone(), target=3)
    close(run(model, x, "grad_cam"), LayerAttribution.interpolate(cam, (96, 96), "bilinear")[0, 0])
    covered = Occlusion(model).attribute(x.clone(), (3, 32, 32), (3, 16, 16), target=3, baselines=0)
    close(run(model, x, "occlusion", window=32), covered[0, 0])


def test_deep_lift_is_exact_on_our_twin_and_not_on_the_plain_network(model: Network, x: Tensor) -> None:
    """Completeness proves the rules: the attributions sum to the difference of the logit."""
    fast = optimize(model).double()
    x = x.double()
    torch.testing.assert_close(rescalable(fast)(x), fast(x))
    for baseline in ("grey", "black", "blurred"):
        result = attribute(fast, x, method="deep_lift", target=3, preprocessing=PRE, settings={"baseline": baseline})
        assert result.delta is not None
        assert result.explained is not None
        assert abs(result.delta) < 1e-6 * max(1, abs(result.explained))
        assert result.values.sum() == pytest.approx(result.explained, rel=1e-4)
    single = attribute(optimize(model), x.float(), method="deep_lift", target=3, preprocessing=PRE)
    assert single.delta is not None
    assert abs(single.delta) < 1e-3  # float32: what the page shows
    if model.backbone != "mobilenet_v1":  # ReLU6
        _, delta = DeepLift(optimize(model)).attribute(
            x.float().clone(), torch.zeros_like(x.float()), target=3, return_convergence_delta=True
        )
        assert abs(float(delta)) > 1e-3  # what the twin mends


def guided_by_hand(model: Network, x: Tensor) -> Tensor:
    """Guided backprop once more, with a ReLU whose own backward clips."""

    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, high):  # type: ignore[no-untyped-def]
            ctx.save_for_backward(x)
            ctx.high = high
            return x.clamp(0, high)

        @staticmethod
        def backward(ctx, g):  # type: ignore[no-untyped-def]
            (x,) = ctx.saved_tensors
            return g.clamp(min=0) * ((x > 0) & (x < ctx.high)), None

    class GuidedReLU(nn.Module):
        def __init__(self, high: float) -> None:
            super().__init__()
            self.high = high

        def forward(self, x: Tensor) -> Tensor:
            return Guided.apply(x, self.high)

    twin = optimize(model)
    for parent in list(twin.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU):
                setattr(parent, name, GuidedReLU(6.0 if type(child) is not nn.ReLU else float("inf")))
    x = x.clone().requires_grad_()
    twin(x)[0, 3].backward()
    assert x.grad is not None
    return x.grad[0].sum(0)


def test_guided_backprop_guides_every_relu_of_both_networks(model: Network, x: Tensor) -> None:
    values = run(model, x, "guided_backprop")
    close(values, guided_by_hand(model, x))
    close_to_gradient = np.abs(values).max() > 0 and np.corrcoef(values.ravel(), run(model, x, "saliency").ravel())[0, 1] > 0.99
    assert not close_to_gradient


def test_more_steps_shrink_the_convergence_delta_on_a_trained_network(picture: ModelInput) -> None:
    fast = load_variant("mobilenet_v1-0.5-after11-g4")
    target = int(fast(picture.tensor).argmax())
    few, many = (
        attribute(
            fast, picture.tensor, method="integrated_gradients", target=target, preprocessing=Preprocessing(), settings={"steps": n}
        )
        for n in (16, 128)
    )
    assert few.delta is not None
    assert many.delta is not None
    assert many.explained is not None
    assert abs(many.delta) < abs(few.delta)
    assert abs(many.delta) < 0.05 * abs(many.explained)
    assert many.values.sum() == pytest.approx(many.explained + many.delta, abs=1e-3)


def test_random_methods_follow_their_seed_alone(model: Network, x: Tensor) -> None:
    fast = optimize(model)
    for method in ("smooth_grad", "gradient_shap"):
        torch.manual_seed(1)
        np.random.seed(1)
        state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
        a, b, c = (attribute(fast, x, method=method, target=1, preprocessing=PRE, seed=s).values for s in (0, 0, 7))
        assert np.array_equal(a, b)
        assert not np.array_equal(a, c)
        assert torch.equal(torch.get_rng_state(), state[0])
        assert np.array_equal(np.random.get_state()[1], state[1])  # type: ignore[index]


def test_random_methods_are_captums_own_on_the_same_draws(model: Network, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = optimize(copy.deepcopy(model).double())
    x = x.double()
    settings = {"samples": 8, "noise": 0.3}  # 8: Captum's GradientShap knows no batches
    ours = {
        name: attribute(fast, x, method=name, target=3, preprocessing=PRE, settings=settings, seed=5).values
        for name in ("smooth_grad", "gradient_shap")
    }
    rng = torch.Generator()
    monkeypatch.setattr(torch, "normal", lambda mean, deviation: torch.randn(deviation.shape, generator=rng) * deviation)
    monkeypatch.setattr(np.random, "uniform", lambda low, high, count: torch.rand(count, generator=rng).numpy())
    rng.manual_seed(5)
    smooth = NoiseTunnel(Saliency(fast)).attribute(x.clone(), nt_type="smoothgrad", nt_samples=8, stdevs=0.3, target=3)
    rng.manual_seed(5)
    shap = GradientShap(fast).attribute(x.clone(), torch.zeros_like(x), n_samples=8, stdevs=0.3, target=3)
    for name, theirs in (("smooth_grad", smooth[0].amax(0)), ("gradient_shap", shap[0].sum(0))):
        np.testing.assert_allclose(ours[name], theirs.detach(), atol=1e-6 * float(theirs.abs().max()))


@pytest.mark.parametrize("method", ["smooth_grad", "gradient_shap"])
def test_a_host_that_draws_numbers_meanwhile_changes_no_attribution(model: Network, x: Tensor, method: str) -> None:
    fast = optimize(model)
    alone = attribute(fast, x, method=method, target=1, preprocessing=PRE).values

    def draw(*_: object) -> None:
        torch.rand(3)
        np.random.rand(3)

    hook = fast.head.register_forward_hook(draw)  # in the midst of every pass, as another thread may
    beside = attribute(fast, x, method=method, target=1, preprocessing=PRE).values
    hook.remove()
    assert np.array_equal(alone, beside)


def test_an_attribution_that_draws_numbers_waits_for_no_other(lively: Callable[..., Network], x: Tensor) -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE)  # each pass of one needs a pass of the other; the limit only ends a failure

    def meet(*_: object) -> None:
        meeting.wait()

    def smooth(fast: Network) -> np.ndarray:
        fast.classifier.register_forward_pre_hook(meet)
        return attribute(fast, x, method="smooth_grad", target=1, preprocessing=PRE).values

    network = optimize(lively("mobilenet_v1", Placement((11,), 4)))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(smooth, [network, copy.deepcopy(network)])
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


def test_of_layers_replaced_one_after_the_other_the_last_real_one_feeds_them(lively: Callable[..., Network], x: Tensor) -> None:
    model = optimize(lively("mobilenet_v2", Placement((16, 17), 4, "instead")))
    for layer in (16, 17):
        found = attribute_attention(model, x, layer=layer, subspace=0, method="grad_cam", preprocessing=Preprocessing(x.shape[-1]))
        assert np.isfinite(found.values).all()


def test_grad_cam_at_the_layer_that_feeds_the_attention(lively: Callable[..., Network], x: Tensor) -> None:
    for placement, feeding in ((Placement((11,), 4), "11"), (Placement((10,), 4, "instead"), "9")):
        model = lively("mobilenet_v1", placement)
        cam = LayerGradCam(model, model.layers[feeding]).attribute(x.clone(), target=3)
        close(run(model, x, "grad_cam", layer="attention"), LayerAttribution.interpolate(cam, (96, 96), "bilinear")[0, 0])


def test_hooks_are_gone_after_an_error(lively: Callable[..., Network], x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = optimize(lively("mobilenet_v1", Placement((11,), 4)))

    def fails(*_: object) -> Tensor:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(fast.head, "forward", fails)
    for method in ("guided_backprop", "grad_cam", "guided_grad_cam", "deep_lift"):
        with pytest.raises(RuntimeError):
            attribute(fast, x, method=method, target=0, preprocessing=PRE)
        assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in fast.modules())


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"method": "lrp"}, "unknown method 'lrp'"),
        ({"target": 7}, "no class 7"),
        ({"target": -1}, "no class -1"),
        ({"settings": {"steps": 31}, "method": "integrated_gradients"}, "'steps' must be one of"),
        ({"settings": {"steps": 32}, "method": "saliency"}, "no setting 'steps'"),
        ({"settings": {"layer": "attention"}, "method": "grad_cam"}, "plain control has no layer"),
    ],
)
def test_wrong_wishes_are_refused_with_what_there_is(
    lively: Callable[..., Network], x: Tensor, wrong: dict[str, object], reason: str
) -> None:
    arguments: dict[str, object] = {"method": "saliency", "target": 0, "preprocessing": PRE} | wrong
    with pytest.raises(AttributionError, match=reason):
        attribute(optimize(lively("mobilenet_v1", None)), x, **arguments)  # type: ignore[arg-type]
