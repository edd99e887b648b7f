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
from ulsam_viz.analysis.attribution import Attribution, attribute
from ulsam_viz.analysis.computations import AttributionError
from ulsam_viz.analysis.methods import METHODS
from ulsam_viz.analysis.refinement import MOST_POINTS, refined_gradients
from ulsam_viz.analysis.rescale import rescalable
from ulsam_viz.analysis.sources import attribute_attention
from ulsam_viz.images.preprocessing import ModelInput, Preprocessing
from ulsam_viz.models.network import Network
from ulsam_viz.models.optimize import optimize
from ulsam_viz.models.others import OTHERS, SPATIAL
from ulsam_viz.models.others.gate import Gate
from ulsam_viz.zoo.variants import get_variant

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
def test_a_method_gives_finite_numbers_of_its_sign_and_leaves_the_network_alone(
    model: Network, x: Tensor, method: str
) -> None:
    fast = optimize(model)
    state = {k: v.clone() for k, v in fast.state_dict().items()}
    before, given = x.clone(), fast(x)
    result = attribute(fast, x, method=method, target=3, preprocessing=PRE)
    assert result.values.shape == (96, 96)
    assert np.isfinite(result.values).all()
    assert result.values.std() > 0
    assert result.signed == METHODS[method].signed
    assert (result.values.min() < 0) == result.signed
    most = METHODS[method].passes(METHODS[method].complete({}), 96)
    assert 17 <= result.passes <= most if method == "integrated_gradients" else result.passes == most
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


@pytest.mark.parametrize("module", OTHERS)
@pytest.mark.parametrize(
    ("backbone", "layer"), [("mobilenet_v1", 11), ("mobilenet_v2", 14), ("efficientnet_lite0", 12)]
)
def test_deep_lift_sums_on_every_papers_module(
    lively: Callable[..., Network], x: Tensor, backbone: str, layer: int, module: str
) -> None:
    network = lively(backbone, Placement((layer,), 1, module=module))
    fast = optimize(network).double()
    for double, baseline in ((fast, "grey"), (fast, "black"), (copy.deepcopy(network).double(), "grey")):
        found = attribute(
            double, x.double(), method="deep_lift", target=3, preprocessing=PRE, settings={"baseline": baseline}
        )
        assert found.off is not None and found.off < 1e-9 and found.values.std() > 0
    single = attribute(optimize(network), x, method="deep_lift", target=3, preprocessing=PRE)
    assert single.delta == pytest.approx(0, abs=1e-3) and not single.warning
    if module in SPATIAL:  # of the others, a map is flat
        source = attribute_attention(fast, x.double(), layer=layer, subspace=0, method="deep_lift", preprocessing=PRE)
        assert source.off is not None and source.off < 1e-6


def test_deep_lift_is_refused_for_a_step_that_has_no_rule(lively: Callable[..., Network], x: Tensor) -> None:
    class Strange(Gate):
        title = "Strange (2030)"

        def gate(self, x: Tensor) -> Tensor:
            return x.mean((2, 3), keepdim=True).sin()

    fast = optimize(lively("mobilenet_v1", Placement((11,), 1, module="se")))
    fast.attention["11"] = Strange(64)
    with pytest.raises(AttributionError, match=r"no rule for 'sin', a step of Strange \(2030\)"):
        attribute(fast, x, method="deep_lift", target=0, preprocessing=PRE)


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
    close_to_gradient = (
        np.abs(values).max() > 0 and np.corrcoef(values.ravel(), run(model, x, "saliency").ravel())[0, 1] > 0.99
    )
    assert not close_to_gradient


def test_more_steps_shrink_the_convergence_delta_on_a_trained_network(picture: ModelInput) -> None:
    fast = load_variant("mobilenet_v1-0.5-after11-g4")
    target = int(fast(picture.tensor).argmax())
    few, many = (
        attribute(
            fast,
            picture.tensor,
            method="integrated_gradients",
            target=target,
            preprocessing=Preprocessing(),
            settings={"steps": n},
        )
        for n in (16, 128)
    )
    assert few.delta is not None
    assert many.delta is not None
    assert many.explained is not None
    assert abs(many.delta) < abs(few.delta)
    assert abs(many.delta) < 0.05 * abs(many.explained)
    assert many.values.sum() == pytest.approx(many.explained + many.delta, abs=1e-3)


def test_integrated_gradients_take_as_many_steps_as_a_photograph_needs(picture: ModelInput) -> None:
    """On the network that the app opens on, where 32 even steps miss more than a tenth."""
    name, so_far = "efficientnet_lite0-after12-g4", list[Attribution]()
    fast, preprocessing = load_variant(name), get_variant(name).preprocessing
    target = int(fast(picture.tensor).argmax())

    def integrate(**settings: object) -> Attribution:
        return attribute(
            fast,
            picture.tensor,
            method="integrated_gradients",
            target=target,
            preprocessing=preprocessing,
            settings=settings,
            show=so_far.append,
        )

    even = integrate(steps=32)
    assert not so_far and even.off is not None and even.off > 0.05 and "take more steps" in even.warning
    found = integrate()
    assert found.off is not None and found.off <= 0.05 and not found.warning and found.passes < MOST_POINTS
    assert [a.passes for a in so_far] == [*range(17, found.passes, 8), found.passes]
    np.testing.assert_array_equal(so_far[-1].values, found.values)
    assert so_far[0].off != found.off


def test_refined_gradients_are_those_that_can_be_worked_out(x: Tensor) -> None:
    """Of f(x) = g(sum of w x) the attributions are w x (g(s) - g(0)) / s, whatever g is."""
    weights, steep = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)) / x.numel() ** 0.5, 200
    s = float((weights * x).sum())

    def model(pictures: Tensor) -> Tensor:
        part = (weights * pictures).sum((1, 2, 3)) / s
        # Nearly all of it happens in one hundredth
        return ((part - 0.3) * steep).tanh().unsqueeze(1) + part.unsqueeze(1)

    found = refined_gradients(model, x, torch.zeros_like(x), 0, report=lambda result, passes: None)
    expected = (weights * x).sum(1) / s * float(np.tanh(0.7 * steep) + np.tanh(0.3 * steep) + 1)
    np.testing.assert_allclose(found[0], expected, rtol=0.06, atol=1e-7)
    theirs = IntegratedGradients(model).attribute(x.clone(), target=0, n_steps=32).sum(1)
    assert float((theirs - expected).abs().max() / expected.abs().max()) > 0.2  # as many even steps miss it


def test_refining_ends_where_it_does_not_help(x: Tensor) -> None:
    passes: list[int] = []
    for model in (
        lambda p: (1e5 * p.sum((1, 2, 3))).sin().unsqueeze(1),
        lambda p: p.sum((1, 2, 3)).unsqueeze(1) * float("nan"),
    ):
        refined_gradients(model, x, torch.zeros_like(x), 0, report=lambda _, n: passes.append(n))
        assert passes[-1] == MOST_POINTS
    refined_gradients(lambda p: p.sum((1, 2, 3)).unsqueeze(1), x, x, 0, report=lambda _, n: passes.append(n))
    assert passes[-1] == 17  # a picture that is the baseline: nothing to explain


@pytest.mark.parametrize("steps", [1, 5, np.int64(40)])
def test_any_number_of_steps_is_taken(lively: Callable[..., Network], x: Tensor, steps: int) -> None:
    fast = optimize(lively("mobilenet_v1", None))
    found = attribute(fast, x, method="integrated_gradients", target=3, preprocessing=PRE, settings={"steps": steps})
    expected = IntegratedGradients(fast).attribute(x.clone(), target=3, n_steps=int(steps))
    close(found.values, expected[0].sum(0))
    assert found.passes == steps


def test_values_of_settings_are_read_from_text() -> None:
    gradients, smooth, cam = (METHODS[name] for name in ("integrated_gradients", "smooth_grad", "grad_cam"))
    assert [gradients.read("steps", text) for text in ("auto", "64", "7")] == ["auto", 64, 7]
    assert (smooth.read("noise", "0.6"), smooth.read("noise", "1"), cam.read("layer", "last")) == (0.6, 1.0, "last")
    for method, name, text in (
        (gradients, "steps", "1.5"),
        (gradients, "steps", "-1"),
        (smooth, "noise", "nan"),
        (cam, "layer", "3"),
    ):
        with pytest.raises(AttributionError, match=f"'{name}' must be"):
            method.read(name, text)
    assert type(gradients.complete({"steps": 64.0})["steps"]) is int
    for wrong in (True, "64", 0, float("inf"), None):
        with pytest.raises(AttributionError, match="'auto' or a whole number from 1 up"):
            gradients.complete({"steps": wrong})


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


def test_random_methods_are_captums_own_on_the_same_draws(
    model: Network, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = optimize(copy.deepcopy(model).double())
    x = x.double()
    deviation = 2.0  # exact in float32, in which Captum keeps it
    # 8: Captum's GradientShap knows no batches.
    settings = {"samples": 8, "noise": deviation / float(x.max() - x.min())}
    ours = {
        name: attribute(fast, x, method=name, target=3, preprocessing=PRE, settings=settings, seed=5).values
        for name in ("smooth_grad", "gradient_shap")
    }
    rng = torch.Generator()
    monkeypatch.setattr(
        torch, "normal", lambda mean, deviation: torch.randn(deviation.shape, generator=rng) * deviation
    )
    monkeypatch.setattr(np.random, "uniform", lambda low, high, count: torch.rand(count, generator=rng).numpy())
    rng.manual_seed(5)
    smooth = NoiseTunnel(Saliency(fast)).attribute(
        x.clone(), nt_type="smoothgrad", nt_samples=8, stdevs=deviation, target=3, abs=False
    )
    rng.manual_seed(5)
    shap = GradientShap(fast).attribute(x.clone(), torch.zeros_like(x), n_samples=8, stdevs=deviation, target=3)
    for name, theirs in (("smooth_grad", smooth[0].abs().amax(0)), ("gradient_shap", shap[0].sum(0))):
        np.testing.assert_allclose(ours[name], theirs.detach(), atol=1e-6 * float(theirs.abs().max()))


def test_smooth_grad_averages_signed_gradients_with_the_papers_noise() -> None:
    """Where gradients cancel over the neighbourhood nothing is left; averaged magnitudes would leave much."""
    assert 0.1 <= METHODS["smooth_grad"].complete({})["noise"] <= 0.2
    seen: list[Tensor] = []

    class Square(nn.Module):  # its gradient is the picture itself
        num_classes, device = 1, torch.device("cpu")

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach())
            return (x**2).sum((1, 2, 3)).unsqueeze(1) / 2

    x = torch.zeros(1, 3, 32, 32)
    x[..., 0, 0], x[..., 0, 1] = -3, 5  # range 8
    found = attribute(Square(), x, method="smooth_grad", target=0, preprocessing=PRE, settings={"samples": 64})  # type: ignore[arg-type]
    noise = torch.cat(seen) - x
    assert noise.std() == pytest.approx(0.15 * 8, rel=0.02)
    np.testing.assert_allclose(found.values, torch.cat(seen).mean(0).abs().amax(0), rtol=1e-4, atol=1e-6)
    assert found.values[1:].mean() < 0.5 * float(noise.abs().mean()) and not found.signed


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
    # Each pass of one needs a pass of the other; the limit only ends a failure
    meeting = threading.Barrier(2, timeout=PATIENCE)

    def meet(*_: object) -> None:
        meeting.wait()

    def smooth(fast: Network) -> np.ndarray:
        fast.classifier.register_forward_pre_hook(meet)
        return attribute(fast, x, method="smooth_grad", target=1, preprocessing=PRE).values

    network = optimize(lively("mobilenet_v1", Placement((11,), 4)))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(smooth, [network, copy.deepcopy(network)])
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


def test_of_layers_replaced_one_after_the_other_the_last_real_one_feeds_them(
    lively: Callable[..., Network], x: Tensor
) -> None:
    model = optimize(lively("mobilenet_v2", Placement((16, 17), 4, "instead")))
    for layer in (16, 17):
        found = attribute_attention(
            model, x, layer=layer, subspace=0, method="grad_cam", preprocessing=Preprocessing(x.shape[-1])
        )
        assert np.isfinite(found.values).all()


def test_grad_cam_at_the_layer_that_feeds_the_attention(lively: Callable[..., Network], x: Tensor) -> None:
    for placement, feeding in ((Placement((11,), 4), "11"), (Placement((10,), 4, "instead"), "9")):
        model = lively("mobilenet_v1", placement)
        cam = LayerGradCam(model, model.layers[feeding]).attribute(x.clone(), target=3)
        close(
            run(model, x, "grad_cam", layer="attention"), LayerAttribution.interpolate(cam, (96, 96), "bilinear")[0, 0]
        )


def test_hooks_are_gone_after_an_error(
    lively: Callable[..., Network], x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        (
            {"settings": {"steps": 0}, "method": "integrated_gradients"},
            "'steps' must be 'auto' or a whole number from 1 up, not 0",
        ),
        ({"settings": {"window": 31}, "method": "occlusion"}, "'window' must be one of"),
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
