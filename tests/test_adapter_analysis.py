"""What is computed on an adapted network: the same as on ours with the same weights, or refused with the reason."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.conftest import noise
from tests.test_adapter import HOSTS, hooks_of, livened, pictures, same, snapshot
from ulsam_viz import AttentionNetwork, MobileNetV1, Placement, explain, insert_ulsam
from ulsam_viz.analysis.attention import attend
from ulsam_viz.analysis.attribution import attribute
from ulsam_viz.analysis.computations import AttributionError
from ulsam_viz.analysis.effects import ShapleyValues, ablate, shapley, through_subspaces, with_strength
from ulsam_viz.analysis.faithfulness import measure
from ulsam_viz.analysis.interventions import INTERVENTIONS, intervene
from ulsam_viz.analysis.methods import METHODS
from ulsam_viz.analysis.sanity import sanity_checks
from ulsam_viz.analysis.sources import attribute_attention
from ulsam_viz.analysis.stages import Switches, experiment
from ulsam_viz.engine.engine import Engine
from ulsam_viz.images.preprocessing import ModelInput, Preprocessing, prepare
from ulsam_viz.models.adapter import AttendedModel
from ulsam_viz.models.backbones import BACKBONES
from ulsam_viz.models.network import Network
from ulsam_viz.models.optimize import optimize
from ulsam_viz.training.data import Pictures
from ulsam_viz.training.evaluate import evaluate
from ulsam_viz.zoo.live_model import as_guest

SIDE = 96
PRE = Preprocessing(SIDE)
CASES = [
    ("mobilenet_v1", Placement((8, 11, 13), 2)),
    ("mobilenet_v1", Placement((11,), 4, gain="normalised")),
    ("mobilenet_v2", Placement((11, 14), 4)),
    ("efficientnet_lite0", Placement((9, 12), 4)),
]


class Host(nn.Module):
    """A network of the family as others would write it, without a word of attention."""

    def __init__(self, backbone: str, classes: int) -> None:
        super().__init__()
        parts = BACKBONES[backbone].build(0.25 if BACKBONES[backbone].has_widths else 1.0)
        self.features = nn.Sequential(*parts.layers.values())
        self.head, self.classifier = parts.head, nn.Linear(parts.features, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.head(self.features(x)).mean((2, 3)))


def name_of(layer: int) -> str:
    return f"features.{layer - 1}"


def adapted_from(network: Network) -> AttendedModel:
    """Load a network's weights into an equal host with modules inserted."""
    placement = network.placement
    assert placement
    adapted = insert_ulsam(
        Host(network.backbone, network.num_classes),
        {name_of(layer): placement.groups for layer in placement.layers},
        gain=placement.gain,
        example=torch.zeros(1, 3, SIDE, SIDE),
    )
    state = {}
    for key, value in network.state_dict().items():
        part, _, rest = key.partition(".")
        number, _, inner = rest.partition(".")
        if part == "attention":
            key = f"{name_of(int(number))}.attention.{inner}"
        elif part == "layers":
            key = f"{name_of(int(number))}.{'layer.' if int(number) in placement.layers else ''}{inner}"
        state[key] = value
    adapted.load_state_dict(state)
    return adapted.eval()


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0]}-{c[1].layers}-{c[1].gain}")
def pair(request: pytest.FixtureRequest, lively: Callable[..., Network]) -> tuple[Network, AttendedModel]:
    network = lively(*request.param)
    with torch.no_grad():  # attention strong enough for its effect to be far above float error
        for layer in network.attended:
            network.attention_of(layer).pointwise_norm.weight.mul_(8)
        # Logits of about 1: an error of 1e-5 is then far above a float's last bits, whatever the processor.
        size = network(pictures(1)).abs().max()
        network.classifier.weight.div_(size)
        network.classifier.bias.div_(size)
    adapted = optimize(adapted_from(network))
    # In our network's memory layout, so that both take the same kernels: what differs is the way, and not the last
    # bits.
    adapted.own_layout = False
    for module in adapted.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return optimize(network), adapted


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> object:
    """After each test that has a pair, both networks are as they were."""
    networks = request.getfixturevalue("pair") if "pair" in request.fixturenames else ()
    before = [snapshot(network) for network in networks]
    yield
    assert all(same(snapshot(network), kept) for network, kept in zip(networks, before, strict=True))
    assert not any(hooks_of(network) for network in networks)


def both(pair: tuple[Network, AttendedModel]) -> list[tuple[AttentionNetwork, int | str]]:
    ours, adapted = pair
    last = ours.attended[-1]
    return [(ours, last), (adapted, name_of(last))]


@torch.inference_mode()
def test_logits_and_maps(pair: tuple[Network, AttendedModel]) -> None:
    ours, adapted = pair
    a, b = (attend(network, pictures(1)) for network in pair)
    np.testing.assert_allclose(a.logits, b.logits, atol=1e-5)
    assert [name_of(layer) for layer in a.maps] == list(b.maps) == list(adapted.attended)
    for layer in ours.attended:
        np.testing.assert_allclose(a.maps[layer], b.maps[name_of(layer)], atol=1e-5)
    assert a.features is not None and b.features is None


def test_effects_of_subspaces(pair: tuple[Network, AttendedModel]) -> None:
    x, other = pictures(1), pictures(1, seed=9)
    ours, theirs = (ablate(network, x, layer=layer, target=2, other=other, shuffles=3) for network, layer in both(pair))
    assert len(ours) == len(theirs) > 5
    assert max(abs(effect.logit) for effect in ours) > 1e-3
    for a, b in zip(ours, theirs, strict=True):
        assert (a.subspace, a.change, a.ways, a.flips) == (b.subspace, b.change, b.ways, b.flips)
        assert (a.logit, a.probability, a.divergence) == pytest.approx((b.logit, b.probability, b.divergence), abs=1e-5)


def test_shapley_values_strengths_and_gradients(pair: tuple[Network, AttendedModel]) -> None:
    x = pictures(1)
    (ours, layer), (adapted, name) = both(pair)
    a, b = shapley(ours, x, layer=layer, target=1), shapley(adapted, x, layer=name, target=1)
    np.testing.assert_allclose(a.values, b.values, atol=1e-5)
    assert a.total == pytest.approx(b.total, abs=1e-5) and a.coalitions == b.coalitions
    strengths = (0.0, 1.0, 4.0)
    c, d = (with_strength(network, x, layer=at, subspace=1, strengths=strengths) for network, at in both(pair))
    np.testing.assert_allclose(c, d, atol=1e-5)
    e, f = (through_subspaces(network, x, layer=at, target=3) for network, at in both(pair))
    np.testing.assert_allclose(e.maps, f.maps, atol=1e-4 * np.abs(e.maps).max())


@torch.inference_mode()
def test_the_whole_attention_changed(pair: tuple[Network, AttendedModel]) -> None:
    ours, adapted = pair
    x, first = pictures(3), ours.attended[0]
    for name in INTERVENTIONS:
        changes = intervene(ours, name)
        a, maps = ours.restart_at(x, first).run(changes)
        renamed = {name_of(layer): change for layer, change in changes.items()}
        b, their_maps = adapted.restart_at(x, name_of(first)).run(renamed)
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        for layer, own in maps.items():
            torch.testing.assert_close(own, their_maps[name_of(layer)], atol=1e-5, rtol=1e-4)
        if name != "shuffled":  # whose orders hang on the layer's number, which a name does not tell
            torch.testing.assert_close(adapted.restart_at(x, name_of(first)).run(intervene(adapted, name))[0], b)
    assert intervene(adapted, "shuffled").keys() == set(adapted.attended)


@torch.inference_mode()
def test_changes_before_a_restart_have_no_effect(pair: tuple[Network, AttendedModel]) -> None:
    ours, adapted = pair
    if len(ours.attended) == 1:
        return
    last = ours.attended[-1]
    everywhere = dict.fromkeys(adapted.attended, torch.zeros_like)
    a, maps = ours.restart_at(pictures(1), last).run({last: torch.zeros_like})
    b, their_maps = adapted.restart_at(pictures(1), name_of(last)).run(everywhere)
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    assert [name_of(layer) for layer in maps] == list(their_maps) == [name_of(last)]


def test_a_changed_module_and_shuffled_weights(
    pair: tuple[Network, AttendedModel], lively: Callable[..., Network]
) -> None:
    ours, adapted = pair
    last = ours.attended[-1]
    assert ours.placement
    trained = lively(ours.backbone, ours.placement).attention_of(last)
    switches = Switches(pool=False, temperature=0.5)
    a, b = (experiment(network, trained, pictures(1), layer=layer, switches=switches) for network, layer in both(pair))
    np.testing.assert_allclose(a.logits, b.logits, atol=1e-5)
    np.testing.assert_allclose(a.changed, b.changed, atol=1e-5)
    checks = sanity_checks(adapted, pictures(1), layer=name_of(last), shuffles=2)
    assert [check.check for check in checks] == ["weights", "module", "groups"]


@pytest.mark.parametrize("method", METHODS)
def test_attributions(pair: tuple[Network, AttendedModel], method: str) -> None:
    # Where points are taken may hang on a float's last bit.
    settings = {"steps": 16} if method == "integrated_gradients" else {}
    a, b = (
        attribute(network, pictures(1), method=method, target=3, preprocessing=PRE, settings=settings)
        for network in pair
    )
    np.testing.assert_allclose(a.values, b.values, atol=2e-4 * float(np.abs(a.values).max()))
    if METHODS[method].complete_sum:
        assert a.explained == pytest.approx(b.explained, abs=1e-5)
        assert a.delta == pytest.approx(b.delta, abs=1e-4)


@pytest.mark.parametrize("method", ["grad_cam", "deep_lift", "guided_grad_cam"])
def test_attributions_of_attention_and_of_the_layer_that_feeds_it(
    pair: tuple[Network, AttendedModel], method: str
) -> None:
    a, b = (
        attribute_attention(network, pictures(1), layer=layer, subspace=1, method=method, preprocessing=PRE)
        for network, layer in both(pair)
    )
    assert a.target == b.target
    np.testing.assert_allclose(a.values, b.values, atol=2e-4 * float(np.abs(a.values).max()))
    if method != "deep_lift":
        c, d = (
            attribute(network, pictures(1), method=method, target=3, preprocessing=PRE, settings={"layer": "attention"})
            for network in pair
        )
        np.testing.assert_allclose(c.values, d.values, atol=2e-4 * float(np.abs(c.values).max()))


def test_insertion_and_deletion(pair: tuple[Network, AttendedModel]) -> None:
    x = pictures(1)
    maps = {"centre first": np.outer(np.hanning(SIDE), np.hanning(SIDE))}
    a, b = (measure(network, x, maps, target=0, blank=torch.zeros_like(x), blurred=x / 2, steps=4) for network in pair)
    for name, own in a.items():
        assert (own.insertion, own.deletion) == pytest.approx((b[name].insertion, b[name].deletion), abs=1e-5)


def test_figures_over_pictures(pair: tuple[Network, AttendedModel], folder: Path) -> None:
    files = sorted(folder.glob("*/*.png"))[::9]
    part = Pictures(tuple(files), tuple(range(len(files))), tuple(map(str, range(7))))
    a, b = (evaluate(network, part, PRE, quiet=True) for network in pair)
    assert a["effects"]["off"] == pytest.approx(b["effects"]["off"], abs=2e-3)
    assert [name_of(int(layer)) for layer in a["attention"]] == list(b["attention"])
    assert (a["top1"], a["pictures"]) == (b["top1"], b["pictures"])


class Plain(nn.Module):
    """Convolutions with an activation each, a residual and a linear head."""

    def __init__(
        self, activation: Callable[[], nn.Module], *, again: bool = False, pool: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.first, self.middle = activation(), nn.Conv2d(8, 8, 3, padding=1)
        self.second = self.first if again else activation()
        self.pool = pool or nn.Identity()
        self.classifier = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x))
        return self.classifier(self.pool(self.second(x + self.middle(x))).mean((2, 3)))


class Functional(Plain):
    """The same with a function in an activation's place."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.classifier(self.second(x + self.middle(x)).mean((2, 3)))


def adapt(host: nn.Module, name: str = "middle") -> AttendedModel:
    torch.manual_seed(1)
    return optimize(insert_ulsam(livened(host), {name: 2}, example=torch.zeros(1, 3, SIDE, SIDE)))


@pytest.mark.parametrize("method", ["deep_lift", "guided_backprop", "guided_grad_cam"])
@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (lambda: Plain(nn.ReLU6), "this one has ReLU6"),
        (lambda: Plain(nn.SiLU), "this one has SiLU"),
        (lambda: Plain(nn.GELU), "this one has GELU"),
        (lambda: Plain(nn.Hardswish), "this one has Hardswish"),
        (lambda: Functional(nn.ReLU), "this one has others: functions"),
    ],
)
def test_rules_that_do_not_hold_are_refused_with_the_reason(
    host: Callable[[], nn.Module], reason: str, method: str
) -> None:
    network = adapt(host())
    before = snapshot(network)
    with pytest.raises(AttributionError, match=reason):
        attribute(network, pictures(1), method=method, target=3, preprocessing=PRE)
    with pytest.raises(AttributionError, match=reason):
        attribute_attention(network, pictures(1), layer="middle", subspace=0, method=method, preprocessing=PRE)
    assert same(snapshot(network), before)
    for other in ("saliency", "grad_cam", "integrated_gradients", "occlusion"):
        assert np.isfinite(attribute(network, pictures(1), method=other, target=3, preprocessing=PRE).values).all()
    assert same(snapshot(network), before)


@pytest.mark.parametrize("name", HOSTS)
def test_methods_on_the_usual_hosts(name: str) -> None:
    build, groups = HOSTS[name]
    torch.manual_seed(5)
    network = optimize(insert_ulsam(livened(build()), groups, example=torch.zeros(1, 3, SIDE, SIDE)))
    before = snapshot(network)
    for method, settings in (("grad_cam", {"layer": "last"}), ("grad_cam", {"layer": "attention"}), ("saliency", {})):
        found = attribute(network, pictures(1), method=method, target=3, preprocessing=PRE, settings=settings)
        assert np.isfinite(found.values).all() and found.values.std() > 0
    with pytest.raises(AttributionError, match="DeepLift cannot be trusted"):  # a max-pool, or no ReLU of its own each
        attribute(network, pictures(1), method="deep_lift", target=3, preprocessing=PRE)
    if "ResNet" in name or "Shuffle" in name:  # ReLUs alone
        assert attribute(network, pictures(1), method="guided_backprop", target=3, preprocessing=PRE).values.std() > 0
    else:
        with pytest.raises(AttributionError, match="Guided backprop cannot be trusted"):
            attribute(network, pictures(1), method="guided_backprop", target=3, preprocessing=PRE)
    result = shapley(network, pictures(1), layer=network.attended[0], target=3)
    assert result.values.sum() == pytest.approx(result.total, abs=1e-4 * max(1, abs(result.total)))
    assert same(snapshot(network), before)


def test_deep_lift_is_refused_where_a_relu_is_used_again_and_for_pools() -> None:
    for host, reason in (
        (Plain(nn.ReLU, again=True), "several times"),
        (Plain(nn.ReLU, pool=nn.MaxPool2d(3)), "has MaxPool2d"),
    ):
        network = adapt(host)
        with pytest.raises(AttributionError, match=f"DeepLift cannot be trusted on {type(host).__name__}.*{reason}"):
            attribute(network, pictures(1), method="deep_lift", target=3, preprocessing=PRE)
        assert attribute(network, pictures(1), method="guided_backprop", target=3, preprocessing=PRE).values.std() > 0


@pytest.mark.parametrize("in_place", [False, True])
def test_deep_lift_is_exact_where_it_is_given(in_place: bool) -> None:
    trained = insert_ulsam(
        livened(Plain(lambda: nn.ReLU(inplace=in_place))), {"middle": 2}, example=torch.zeros(1, 3, SIDE, SIDE)
    )
    maps = []
    for network in (trained, optimize(trained)):
        before = snapshot(network)
        found = attribute(network, pictures(1), method="deep_lift", target=3, preprocessing=PRE)
        assert found.delta == pytest.approx(0, abs=1e-4 * abs(found.explained or 0) + 1e-6)
        assert same(snapshot(network), before)
        maps.append(found.values)
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4 * np.abs(maps[0]).max())


def test_a_relu_whose_input_is_used_again_is_left_alone() -> None:
    class Before(Plain):
        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            # x twice, before its activation
            return self.classifier(self.second(x + self.middle(self.first(x))).mean((2, 3)))

    network = adapt(Before(nn.ReLU))
    with torch.no_grad():
        expected = network(pictures(1))[0].numpy()
    np.testing.assert_array_equal(attend(network, pictures(1)).logits, expected)


class Viewing(Plain):
    """Calls what needs PyTorch's own memory layout."""

    def __init__(self) -> None:
        super().__init__(nn.ReLU)
        self.classifier = nn.Linear(8 * 24 * 24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.middle(self.first(self.stem(x))))
        return self.classifier(x.view(len(x), -1))


@pytest.mark.filterwarnings("ignore::ulsam_viz.analysis.attribution.AttributionWarning")
def test_a_host_may_call_view_on_its_features(photograph: Image.Image) -> None:
    network = insert_ulsam(Viewing(), {"middle": 2}, example=torch.zeros(1, 3, SIDE, SIDE))
    found = explain(photograph, network, list(METHODS), preprocessing=PRE)
    assert all(np.isfinite(values).all() for values in found.attributions.values())
    fast, x = optimize(network), pictures(1).contiguous(memory_format=torch.channels_last)
    assert len(ablate(fast, x, layer="middle", target=1)) > 5
    maps = {"centre first": np.outer(np.hanning(SIDE), np.hanning(SIDE))}
    assert measure(fast, x, maps, target=0, blank=torch.zeros_like(x), blurred=x / 2, steps=4)


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    return Image.fromarray(noise((120, 140, 3), seed=4))


def test_explain_takes_an_adapted_network(photograph: Image.Image) -> None:
    torch.manual_seed(1)
    network = insert_ulsam(livened(Plain(nn.SiLU)), {"middle": 2}, example=torch.zeros(1, 3, SIDE, SIDE))
    before = snapshot(network)
    names = ("a", "b", "c", "d", "e")
    found = explain(photograph, network, ("grad_cam", "saliency"), target="d", classes=names, preprocessing=PRE)
    assert found.variant == "Plain" and found.target == 3
    assert found.attention["middle"].shape == (2, 24, 24)
    assert found.attributions["grad_cam"].shape == (SIDE, SIDE) and found.attributions["saliency"].std() > 0
    with torch.no_grad():
        picture = PRE.normalize(torch.tensor(found.pixels).permute(2, 0, 1))[None]
        np.testing.assert_allclose(found.logits, network(picture)[0], atol=1e-5)
    again = explain(photograph, network, (), preprocessing=PRE)
    np.testing.assert_array_equal(found.logits, again.logits)
    assert same(snapshot(network), before)
    with pytest.raises(AttributionError, match="SiLU"):
        explain(photograph, network, ("deep_lift",), preprocessing=PRE)


def test_a_network_that_was_trained_further_is_seen_anew(photograph: Image.Image) -> None:
    network = insert_ulsam(livened(Plain(nn.ReLU)), {"middle": 2}, example=torch.zeros(1, 3, SIDE, SIDE))
    first = explain(photograph, network, preprocessing=PRE)
    with torch.no_grad():
        network.model.classifier.bias.add_(1.0)  # type: ignore[union-attr, operator]
    second = explain(photograph, network, preprocessing=PRE)
    np.testing.assert_allclose(second.logits, first.logits + 1, atol=1e-5)
    other = explain(photograph, copy.deepcopy(network), preprocessing=PRE)
    np.testing.assert_array_equal(other.logits, second.logits)
    dark = Preprocessing(SIDE, mean=(0.0, 0.0, 0.0))
    assert not np.array_equal(explain(photograph, network, preprocessing=dark).logits, second.logits)


def test_the_engine_lends_replicas_of_an_adapted_network(photograph: Image.Image) -> None:
    network = insert_ulsam(livened(Plain(nn.ReLU)), {"middle": 2}, example=torch.zeros(1, 3, SIDE, SIDE))
    record, picture, engine = as_guest(network, None, PRE), prepare(photograph, PRE), Engine(workers=2)
    lent = []

    def work(model: AttendedModel, pause: Callable[..., None]) -> ShapleyValues:
        lent.append(model)
        return shapley(model, picture.tensor, layer="middle", target=1, pause=pause)

    found = engine.run("shapley", picture, record, "cpu", work).result()
    assert lent[0] is not network and lent[0] is not record.network
    assert found.total == pytest.approx(
        shapley(optimize(network), picture.tensor, layer="middle", target=1).total, abs=1e-6
    )
    # Kept: the same content
    assert engine.run("shapley", picture, as_guest(network, None, PRE), "cpu", work).result() is found
    assert as_guest(network, None, PRE).key == record.key != as_guest(copy.deepcopy(network), None, PRE).key
    assert hooks_of(lent[0]) == 0 and len(lent) == 1


def test_explain_takes_a_network_of_ours_that_is_not_in_the_zoo(
    photograph: Image.Image, lively: Callable[..., Network]
) -> None:
    network = lively("mobilenet_v1", Placement((11,), 4))
    found = explain(photograph, network, ("deep_lift",), target=2, preprocessing=PRE)
    assert found.variant == network.label and found.attention[11].shape == (4, 6, 6)


def test_wrong_networks_and_wishes_are_refused(photograph: Image.Image, picture: ModelInput) -> None:
    network = MobileNetV1(0.25, 7, Placement((11,), 4)).eval()
    with pytest.raises(ValueError, match="preprocessing="):
        explain(photograph, network)
    with pytest.raises(ValueError, match="7 logits, and 2 classes"):
        explain(photograph, network, classes=("a", "b"), preprocessing=PRE)
    with pytest.raises(ValueError, match="a variant has its own"):
        explain(photograph, "mobilenet_v1-0.5-after11-g4", preprocessing=PRE)
    with pytest.raises(TypeError, match="insert_ulsam makes such a network"):
        explain(photograph, nn.Identity(), preprocessing=PRE)  # type: ignore[arg-type]
    features = insert_ulsam(nn.Sequential(nn.Conv2d(3, 4, 3)), {"0": 2}, example=torch.zeros(1, 3, SIDE, SIDE))
    with pytest.raises(ValueError, match="not logits"):
        explain(photograph, features, preprocessing=PRE)
