"""Many visitors on shared models: the numbers are those of one visitor alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ulsam_viz import CheckpointError, Explanation, explain, list_variants
from ulsam_viz.analysis.attention import Attention, attend_each
from ulsam_viz.analysis.calibration import probabilities_of
from ulsam_viz.analysis.computations import AttributionError
from ulsam_viz.analysis.methods import METHODS
from ulsam_viz.engine import Engine
from ulsam_viz.images import ModelInput, decode_image, prepare
from ulsam_viz.models.network import Network
from ulsam_viz.samples import list_samples
from ulsam_viz.zoo import Calibration, get_variant

G4 = "mobilenet_v1-0.5-after11-g4"


def same(a: Explanation, b: Explanation) -> bool:
    return (
        np.array_equal(a.logits, b.logits)
        and a.target == b.target
        and all(np.array_equal(a.attention[n], b.attention[n]) for n in a.attention)
        and all(np.array_equal(a.attributions[m], b.attributions[m]) for m in a.attributions)
    )


def test_explain_gives_everything_about_one_picture(astronaut: Image.Image) -> None:
    result = explain(astronaut, G4, methods=("grad_cam", "saliency"))
    assert result.pixels.shape == (224, 224, 3)
    assert result.pixels.dtype == np.uint8
    assert result.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert result.target == int(result.logits.argmax())
    assert {n: m.shape for n, m in result.attention.items()} == {11: (4, 14, 14)}
    np.testing.assert_allclose(result.attention[11].sum((1, 2)), 1, atol=1e-5)
    assert {m: v.shape for m, v in result.attributions.items()} == {"grad_cam": (224, 224), "saliency": (224, 224)}
    other = explain(astronaut, G4, target="cup")
    assert get_variant(G4).classes[other.target] == "cup"
    assert same(result, explain(astronaut, get_variant(G4), methods=("grad_cam", "saliency")))


def test_the_plain_control_has_attributions_and_no_maps(astronaut: Image.Image) -> None:
    result = explain(astronaut, "mobilenet_v1-0.5-plain")
    assert result.attention == {}
    assert result.attributions["grad_cam"].std() > 0


def test_the_networks_are_right_about_most_samples_and_wrong_about_one() -> None:
    classes = get_variant(G4).classes
    known = [s for s in list_samples() if s.shows]
    right = {s.path.stem for s in known if classes[explain(decode_image(s.path.read_bytes()), G4, ()).target] == s.shows}
    assert {"grace_hopper", "astronaut", "stop_sign", "yin_yang", "sunflower", "pizza", "umbrella"} <= right
    assert len(right) < len(known)
    assert all(s.licence and s.source and s.notice for s in list_samples())


def test_wrong_wishes_are_refused(astronaut: Image.Image) -> None:
    with pytest.raises(KeyError, match="no trained variant"):
        explain(astronaut, "nothing")
    with pytest.raises(AttributionError, match="unknown method"):
        explain(astronaut, G4, methods=("magic",))
    with pytest.raises(AttributionError, match="knows no class 'unicorn'"):
        explain(astronaut, G4, target="unicorn")
    for number in (101, -1):
        with pytest.raises(AttributionError, match="has classes 0 to 100"):
            explain(astronaut, G4, methods=(), target=number)


def test_four_threads_get_what_one_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Different pictures, methods and variants at once on shared models, bit for bit as one after the other."""
    pictures = [decode_image(s.path.read_bytes()) for s in list_samples()]
    variants = [v.name for v in list_variants()]
    jobs = [
        (pictures[i % len(pictures)], variants[i % 3], (method, list(METHODS)[(i * 7) % len(METHODS)]), i)
        for i, method in enumerate([*METHODS, *METHODS])
    ]

    def run(job: tuple[Image.Image, str, tuple[str, ...], int]) -> Explanation:
        picture, variant, methods, seed = job
        return explain(picture, variant, tuple(dict.fromkeys(methods)), seed=seed)

    monkeypatch.setattr("ulsam_viz.engine._default", Engine(workers=1, result_bytes=0))
    serial = [run(job) for job in jobs]
    monkeypatch.setattr("ulsam_viz.engine._default", Engine(workers=4, result_bytes=0))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, jobs))
    assert all(same(a, b) for a, b in zip(serial, together, strict=True))


def test_results_are_kept_within_bytes_and_computed_once(picture: ModelInput) -> None:
    engine = Engine(workers=2)
    variant = get_variant(G4)
    first = engine.attend(picture, variant).result()
    assert engine.attend(picture, variant).result() is first
    a = engine.attribute(picture, variant, method="occlusion", target=1)
    b = engine.attribute(picture, variant, method="occlusion", target=1)
    assert a.result() is b.result()
    assert engine.attribute(picture, variant, method="occlusion", target=2).result() is not a.result()
    forgetful = Engine(workers=1, result_bytes=0)
    assert forgetful.attend(picture, variant).result() is not forgetful.attend(picture, variant).result()


def test_idle_networks_stay_within_their_bytes(picture: ModelInput) -> None:
    engine = Engine(workers=1, model_bytes=1, result_bytes=0)
    for variant in list_variants():
        engine.attend(picture, variant).result()
    assert len(engine._idle) == 1


def test_a_failure_reaches_only_who_asked(picture: ModelInput, tmp_path: Path) -> None:
    engine = Engine(workers=2)
    good = get_variant(G4)
    bad = replace(good, name="bad", path=tmp_path / "bad.safetensors", sha256="0" * 64)
    failing, working = engine.attend(picture, bad), engine.attend(picture, good)
    with pytest.raises(CheckpointError, match="variant 'bad' cannot be used"):
        failing.result()
    assert working.result().maps[11].shape == (4, 14, 14)
    with pytest.raises(CheckpointError):
        engine.attend(picture, bad).result()


def test_a_record_with_another_networks_file_shows_no_other_network(picture: ModelInput) -> None:
    """Not even when that network is at hand already: the file's sha256 would fit."""
    engine = Engine(workers=1)
    right = get_variant(G4)
    engine.attend(picture, right, "cpu").result()
    wrong = replace(get_variant("mobilenet_v1-0.5-after11-g8"), path=right.path, sha256=right.sha256)
    with pytest.raises(CheckpointError, match="after11-g8' cannot be used"):
        engine.attend(picture, wrong, "cpu").result()


def test_work_that_nobody_waits_for_is_never_begun_and_a_pass_never_waits(picture: ModelInput) -> None:
    engine = Engine(workers=1, result_bytes=0)
    variant = get_variant(G4)
    settings = {"steps": 128}
    running = engine.attribute(picture, variant, method="integrated_gradients", target=0, settings=settings)
    mine, theirs = (engine.attribute(picture, variant, method="occlusion", target=1) for _ in range(2))
    only_mine = engine.attribute(picture, variant, method="occlusion", target=2)
    assert mine is theirs  # two visitors, one computation
    assert engine.attend(picture, variant).result(5).maps[11].shape == (4, 14, 14)
    assert not running.done()  # the pass overtook it
    engine.release([running, mine, only_mine])
    assert only_mine.cancelled()
    assert not theirs.cancelled()
    assert theirs.result(60).target == 1
    # What was let go can be asked for again.
    assert engine.attribute(picture, variant, method="occlusion", target=2).result(60).target == 2
    assert not engine._running
    assert not engine._wanted


def test_a_long_computation_stops_when_its_visitor_has_gone(picture: ModelInput) -> None:
    engine = Engine(workers=1, result_bytes=0)
    variant = get_variant(G4)
    running = engine.attribute(picture, variant, method="occlusion", target=0, settings={"window": 16})
    while engine.ahead_of(running) is not None:  # until it has begun
        time.sleep(0.005)
    waiting = engine.attribute(picture, variant, method="integrated_gradients", target=0)
    assert engine.ahead_of(waiting) == 0
    engine.release([running])
    with pytest.raises(CancelledError):
        running.result(10)
    assert waiting.result(10).method == "integrated_gradients"
    for model in (m for stock in engine._idle.values() for m in stock):
        assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_networks_first_pass_within_anothers_computation_leaves_it_fit_for_gradients(picture: ModelInput) -> None:
    """Short work runs in a long computation's thread, whose inference mode must not get into the network's tensors."""
    engine, begun, asked = Engine(workers=1), threading.Event(), threading.Event()

    @torch.inference_mode()
    def long(_: Network, pause: Callable[..., None]) -> bool:
        begun.set()
        asked.wait(10)
        pause()
        return torch.is_inference_mode_enabled()

    running = engine.run("long", picture, get_variant(G4), "cpu", long)
    assert begun.wait(10)
    other = get_variant("mobilenet_v1-0.5-after11-g8")
    saliency = engine.attribute(picture, other, method="saliency", target=0)  # short: it loads and uses the network there
    asked.set()
    assert saliency.result(20).values.any()
    assert running.result(20)
    assert engine.attribute(picture, other, method="guided_backprop", target=0).result(20).values.any()


def test_passes_that_do_not_call_the_network_itself_are_counted_too(picture: ModelInput) -> None:
    engine, counted, go_on = Engine(workers=1), threading.Event(), threading.Event()

    def work(model: Network, pause: Callable[..., None]) -> int:
        for _ in range(3):
            pause(1)
            model.features_with_attention(picture.tensor)
        counted.set()
        go_on.wait(10)
        return 1

    future = engine.run("parts", picture, get_variant(G4), "cpu", work)
    assert counted.wait(20)
    assert engine.passes(future) == 3
    go_on.set()
    future.result(10)


def test_a_computation_tells_how_far_it_is(picture: ModelInput) -> None:
    engine, halfway, go_on = Engine(workers=1), threading.Event(), threading.Event()

    def work(model: Network, _: object) -> int:
        model(picture.tensor.repeat(3, 1, 1, 1))
        halfway.set()
        go_on.wait(10)
        return 7

    future = engine.run("far", picture, get_variant(G4), "cpu", work)
    assert halfway.wait(30)
    assert engine.passes(future) == 3
    go_on.set()
    assert future.result(10) == 7
    assert engine.passes(future) == 0


def test_passes_of_one_network_go_in_batches_on_a_gpu(picture: ModelInput, monkeypatch: pytest.MonkeyPatch) -> None:
    """Played on the CPU: a device of its own name, whose networks stay where they are."""
    monkeypatch.setattr("ulsam_viz.models.network.Network.to", lambda self, *_, **__: self)
    sizes: list[int] = []
    all_asked = threading.Event()

    def counted(model: Network, x: torch.Tensor, *, temperature: float) -> list[Attention]:
        all_asked.wait(10)
        sizes.append(len(x))
        return attend_each(model, x, temperature=temperature)

    monkeypatch.setattr("ulsam_viz.engine.attend_each", counted)
    engine, variant = Engine(workers=1), replace(get_variant(G4), calibration=Calibration(0.5))
    pictures = [prepare(decode_image(s.path.read_bytes()), variant.preprocessing) for s in list_samples()]
    futures = [engine.attend(p, variant, "cuda") for p in pictures]
    all_asked.set()
    results = [future.result(30) for future in futures]
    assert sum(sizes) == len(pictures)
    assert len(sizes) <= 3
    alone = Engine(workers=1)
    for result, p in zip(results, pictures, strict=True):
        expected = alone.attend(p, variant).result()
        np.testing.assert_allclose(result.maps[11], expected.maps[11], atol=1e-5)
        np.testing.assert_allclose(result.logits, expected.logits, atol=1e-3)
        np.testing.assert_allclose(result.probabilities, probabilities_of(result.logits, 0.5), atol=1e-5)


def test_results_that_visitors_share_cannot_be_changed(picture: ModelInput) -> None:
    result = Engine(workers=1).attend(picture, get_variant(G4)).result()
    with pytest.raises(ValueError, match="read-only"):
        result.maps[11][0, 0, 0] = 1


def test_a_gpu_that_does_not_work_is_found_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.ones", fails)
    choice = Engine(workers=1).choose_device("auto")
    assert choice.device == "cpu"
    assert choice.reason
    assert "cannot be used (no kernel image is available)" in choice.reason


def test_a_wish_for_a_gpu_is_met_or_the_reason_is_said() -> None:
    engine = Engine(workers=1)
    assert engine.choose_device("cpu").reason is None
    choice = engine.choose_device("cuda")
    if torch.cuda.is_available():
        assert choice.device == "cuda"
    else:
        assert choice.device == "cpu"
        assert choice.reason
        assert "CUDA" in choice.reason
    assert engine.choose_device("auto").reason is None


def test_out_of_memory_on_the_gpu_falls_back_to_the_cpu(picture: ModelInput, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(workers=1)
    real = engine._with_network

    def full(variant, device, work, job):  # type: ignore[no-untyped-def]
        if device == "cuda":
            raise torch.cuda.OutOfMemoryError("full")
        return real(variant, device, work, job)

    monkeypatch.setattr(engine, "_with_network", full)
    assert engine.attend(picture, get_variant(G4), "cuda").result().maps[11].shape == (4, 14, 14)
    choice = engine.choose_device("auto")
    assert choice.device == "cpu"
    assert choice.reason
    assert "memory" in choice.reason
