"""Many visitors on shared models: the numbers are those of one visitor alone."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.patience import PATIENCE
from ulsam_viz import CheckpointError, Explanation, explain, list_variants
from ulsam_viz.analysis.attention import Attention, attend_each
from ulsam_viz.analysis.calibration import probabilities_of
from ulsam_viz.analysis.computations import AttributionError
from ulsam_viz.analysis.methods import METHODS
from ulsam_viz.engine.devices import Gpu
from ulsam_viz.engine.engine import DeviceChoice, Engine
from ulsam_viz.engine.scheduling import Job
from ulsam_viz.images.preprocessing import ModelInput, decode_image, prepare
from ulsam_viz.images.samples import list_samples
from ulsam_viz.models.cost import Latency, measure_latencies
from ulsam_viz.models.mobilenet import MobileNetV1
from ulsam_viz.models.network import Network
from ulsam_viz.zoo.variants import Calibration, get_variant

G4 = "mobilenet_v1-0.5-after11-g4"
LITE = "efficientnet_lite0-after12-g4"


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
    known = [s for s in list_samples() if s.truths(classes)]
    right = {
        s.path.stem
        for s in known
        if classes[explain(decode_image(s.path.read_bytes()), G4, ()).target] in s.truths(classes)
    }
    assert {"grace_hopper", "astronaut", "stop_sign", "yin_yang", "sunflower", "pizza", "umbrella"} <= right
    assert len(right) < len(known)
    assert all(s.licence and s.source and s.notice for s in list_samples())


def test_the_network_with_imagenets_classes_names_photographs_and_is_wrong_about_one() -> None:
    classes = get_variant(LITE).classes
    photographs = [s for s in list_samples() if s.kind == "photograph"]
    said = {s.path.stem: classes[explain(decode_image(s.path.read_bytes()), LITE, ()).target] for s in photographs}
    right = {s.path.stem for s in photographs if said[s.path.stem] in s.truths(classes)}
    assert right >= {"coffee", "chelsea", "camera", "rocket", "grace_hopper", "house", "alps", "sheep"}
    assert (said["boats"], said["acanthus"]) == ("wreck", "pineapple")


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
    jobs = [  # each method twice, each time beside another
        (pictures[i % len(pictures)], variants[i % 3], (method, list(METHODS)[(i * 7 + 1) % len(METHODS)]), i)
        for i, method in enumerate(METHODS)
    ]

    def run(job: tuple[Image.Image, str, tuple[str, ...], int]) -> Explanation:
        picture, variant, methods, seed = job
        return explain(picture, variant, tuple(dict.fromkeys(methods)), seed=seed)

    monkeypatch.setattr("ulsam_viz.engine.engine._default", Engine(workers=1, result_bytes=0))
    serial = [run(job) for job in jobs]
    monkeypatch.setattr("ulsam_viz.engine.engine._default", Engine(workers=4, result_bytes=0))
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
    for variant in list_variants()[:4]:
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
    begun, asked, overtaken = (threading.Event() for _ in range(3))

    def long(_: Network, pause: Callable[..., None]) -> None:
        begun.set()
        asked.wait(PATIENCE)
        pause()  # what is short overtakes it here
        overtaken.wait(PATIENCE)

    running = engine.run("long", picture, variant, "cpu", long)
    assert begun.wait(PATIENCE)
    mine, theirs = (engine.attribute(picture, variant, method="occlusion", target=1) for _ in range(2))
    only_mine = engine.attribute(picture, variant, method="occlusion", target=2)
    assert mine is theirs  # two visitors, one computation
    quick = engine.attend(picture, variant)
    asked.set()
    assert quick.result(PATIENCE).maps[11].shape == (4, 14, 14)
    assert not running.done()  # the pass overtook it
    engine.release([running, mine, only_mine])
    overtaken.set()
    assert only_mine.cancelled()
    assert not theirs.cancelled()
    assert theirs.result(PATIENCE).target == 1
    # What was let go can be asked for again.
    assert engine.attribute(picture, variant, method="occlusion", target=2).result(PATIENCE).target == 2
    assert not engine._running
    assert not engine._asked


def test_a_long_computation_stops_when_its_visitor_has_gone(
    picture: ModelInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, variant = Engine(workers=1, result_bytes=0), get_variant(G4)
    begun, go_on = threading.Event(), threading.Event()
    real = engine._pools["cpu"].give_way

    def before_each_pass(job: Job) -> None:
        begun.set()
        go_on.wait(PATIENCE)
        real(job)

    monkeypatch.setattr(engine._pools["cpu"], "give_way", before_each_pass)
    running = engine.attribute(picture, variant, method="occlusion", target=0, settings={"window": 16})
    assert begun.wait(PATIENCE)
    waiting = engine.attribute(picture, variant, method="integrated_gradients", target=0)
    assert engine.ahead_of(waiting) == 0
    engine.release([running])
    go_on.set()
    with pytest.raises(CancelledError):
        running.result(PATIENCE)
    assert waiting.result(PATIENCE).method == "integrated_gradients"
    for model in (m for stock in engine._idle.values() for m in stock):
        assert not any(module._forward_pre_hooks for module in model.modules())


def test_what_is_refined_can_be_seen_meanwhile(picture: ModelInput) -> None:
    engine, begun, go_on = Engine(workers=1), threading.Event(), threading.Event()

    def refine(_: Network, pause: Callable[..., None]) -> np.ndarray:
        pause(so_far=np.zeros(3))
        begun.set()
        go_on.wait(PATIENCE)
        return np.ones(3)

    running = engine.run("refine", picture, get_variant(G4), "cpu", refine)
    assert begun.wait(PATIENCE)
    so_far = engine.so_far(running)
    assert so_far is not None and not so_far.any() and not so_far.flags.writeable
    go_on.set()
    assert running.result(PATIENCE).all() and engine.so_far(running) is None


def test_a_networks_first_pass_within_anothers_computation_leaves_it_fit_for_gradients(picture: ModelInput) -> None:
    """Short work runs in a long computation's thread, whose inference mode must not get into the network's tensors."""
    engine, begun, asked = Engine(workers=1), threading.Event(), threading.Event()

    @torch.inference_mode()
    def long(_: Network, pause: Callable[..., None]) -> bool:
        begun.set()
        asked.wait(PATIENCE)
        pause()
        return torch.is_inference_mode_enabled()

    running = engine.run("long", picture, get_variant(G4), "cpu", long)
    assert begun.wait(PATIENCE)
    other = get_variant("mobilenet_v1-0.5-after11-g8")
    # Short: it loads and uses the network there
    saliency = engine.attribute(picture, other, method="saliency", target=0)
    asked.set()
    assert saliency.result(PATIENCE).values.any()
    assert running.result(PATIENCE)
    assert engine.attribute(picture, other, method="guided_backprop", target=0).result(PATIENCE).values.any()


def test_passes_that_do_not_call_the_network_itself_are_counted_too(picture: ModelInput) -> None:
    engine, counted, go_on = Engine(workers=1), threading.Event(), threading.Event()

    def work(model: Network, pause: Callable[..., None]) -> int:
        for _ in range(3):
            pause(1)
            model.features_with_attention(picture.tensor)
        counted.set()
        go_on.wait(PATIENCE)
        return 1

    future = engine.run("parts", picture, get_variant(G4), "cpu", work)
    assert counted.wait(PATIENCE)
    assert engine.passes(future) == 3
    go_on.set()
    future.result(PATIENCE)


def test_a_computation_tells_how_far_it_is(picture: ModelInput) -> None:
    engine, halfway, go_on = Engine(workers=1), threading.Event(), threading.Event()

    def work(model: Network, _: object) -> int:
        model(picture.tensor.repeat(3, 1, 1, 1))
        halfway.set()
        go_on.wait(PATIENCE)
        return 7

    future = engine.run("far", picture, get_variant(G4), "cpu", work)
    assert halfway.wait(PATIENCE)
    assert engine.passes(future) == 3
    go_on.set()
    assert future.result(PATIENCE) == 7
    assert engine.passes(future) == 0


def test_passes_of_one_network_go_in_batches_on_a_gpu(monkeypatch: pytest.MonkeyPatch, played_gpu: None) -> None:
    sizes: list[int] = []
    all_asked = threading.Event()

    def counted(model: Network, x: torch.Tensor, *, temperature: float) -> list[Attention]:
        all_asked.wait(PATIENCE)
        sizes.append(len(x))
        return attend_each(model, x, temperature=temperature)

    monkeypatch.setattr("ulsam_viz.engine.engine.attend_each", counted)
    engine, variant = Engine(workers=1), replace(get_variant(G4), calibration=Calibration(0.5))
    pictures = [prepare(decode_image(s.path.read_bytes()), variant.preprocessing) for s in list_samples()]
    futures = [engine.attend(p, variant, "cuda") for p in pictures]
    all_asked.set()
    results = [future.result(PATIENCE) for future in futures]
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


@pytest.fixture
def played_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PyTorch see a GPU that works: played on the CPU, where the networks "on" it stay."""
    monkeypatch.setattr("ulsam_viz.models.network.Network.to", lambda self, *_, **__: self)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("ulsam_viz.engine.devices._try_cuda", lambda: None)


def test_a_gpu_that_does_not_work_is_found_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.ones", fails)
    choice = Engine(workers=1).choose_device("auto")
    assert choice.device == "cpu"
    assert choice.reason
    assert "cannot be used (no kernel image is available)" in choice.reason


def test_who_asks_for_the_gpu_while_it_is_tried_waits_for_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    trying, second_asks = threading.Event(), threading.Event()
    trials: list[int] = []

    def trial() -> str:
        trials.append(1)
        trying.set()
        second_asks.wait(PATIENCE)
        return "broken"

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("ulsam_viz.engine.devices._try_cuda", trial)
    engine = Engine(workers=1)

    def ask_second() -> DeviceChoice:
        assert trying.wait(PATIENCE)
        second_asks.set()
        return engine.choose_device("auto")

    with ThreadPoolExecutor(2) as pool:
        choices = [pool.submit(engine.choose_device, "auto"), pool.submit(ask_second)]
    assert [c.result() for c in choices] == [DeviceChoice("cpu", "broken")] * 2
    assert len(trials) == 1


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


def test_what_does_not_fit_the_gpu_is_computed_on_the_cpu_and_the_next_request_tries_the_gpu_again(
    picture: ModelInput, monkeypatch: pytest.MonkeyPatch, played_gpu: None
) -> None:
    engine, variant = Engine(workers=1), get_variant(G4)
    real, devices = engine._with_network, []

    def full_at_first(variant, device, work, job):  # type: ignore[no-untyped-def]
        devices.append(device)
        if devices == ["cuda"]:
            raise torch.cuda.OutOfMemoryError("full")
        return real(variant, device, work, job)

    monkeypatch.setattr(engine, "_with_network", full_at_first)
    chosen = engine.choose_device("auto")
    first = engine.attend(picture, variant, "cuda")
    assert first.result().maps[11].shape == (4, 14, 14)
    really = engine.really(first, chosen)
    assert really.device == "cpu"
    assert really.reason and "out of memory" in really.reason
    assert engine.attend(picture, variant, "cpu").result() is first.result()  # kept as what it is
    assert devices == ["cuda", "cpu"]
    assert engine.choose_device("auto") == chosen == DeviceChoice("cuda", None)
    second = engine.attend(picture, variant, "cuda")
    assert second.result() is not first.result()
    assert engine.really(second, chosen) is chosen
    assert devices == ["cuda", "cpu", "cuda"]


def test_no_time_of_the_cpu_stands_for_that_of_a_full_gpu(monkeypatch: pytest.MonkeyPatch, played_gpu: None) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("full")

    monkeypatch.setattr("ulsam_viz.engine.engine.measure_latencies", full)
    with pytest.raises(RuntimeError, match="the GPU ran out of memory"):
        Engine(workers=1).latency([get_variant(G4)], "cuda").result()


def test_a_gpu_that_is_full_again_and_again_rests_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ulsam_viz.engine.devices._try_cuda", lambda: None)
    clock = [0.0]
    gpu = Gpu(lambda: clock[0])
    for _ in range(2):
        gpu.ran_out_of_memory()
    gpu.worked()
    for _ in range(2):
        gpu.ran_out_of_memory()
    assert gpu.trouble() is None  # never three in a row
    gpu.ran_out_of_memory()
    assert "out of memory several times" in (gpu.trouble() or "")
    clock[0] = 61.0
    assert gpu.trouble() is None


def test_requests_that_fail_or_are_abandoned_leave_no_picture_behind(
    picture: ModelInput, tmp_path: Path, played_gpu: None
) -> None:
    engine, good = Engine(workers=1), get_variant(G4)
    bad = replace(good, name="bad", path=tmp_path / "bad.safetensors")
    pictures = [replace(picture, tensor=picture.tensor.clone(), key=f"picture {i}") for i in range(4)]
    left = [weakref.ref(p.tensor) for p in pictures]
    hold, begun = threading.Event(), threading.Event()

    def busy(*_: object) -> None:
        begun.set()
        hold.wait(PATIENCE)

    engine.run("busy", picture, good, "cuda", busy)
    assert begun.wait(PATIENCE)
    failing = [engine.attend(p, bad, "cuda") for p in pictures[:2]]
    abandoned = [engine.attend(p, good, "cuda") for p in pictures[2:]]
    engine.release(abandoned)
    hold.set()
    for future in failing:
        with pytest.raises(CheckpointError):
            future.result(PATIENCE)
    # The thread no longer holds the earlier results
    engine.run("the last", picture, good, "cuda", lambda *_: None).result(PATIENCE)
    del pictures, failing, abandoned, future
    gc.collect()
    assert [ref() for ref in left] == [None] * 4


def test_effects_on_a_gpu_are_not_rounded_and_the_programs_settings_stay(picture: ModelInput, played_gpu: None) -> None:
    def settings() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        before, engine = settings(), Engine(workers=1)
        assert engine.choose_device("auto").device == "cuda"
        kinds = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
        seen = engine.run(
            "settings", picture, get_variant(G4), "cuda", lambda *_: [kind.fp32_precision for kind in kinds]
        )
        assert seen.result(PATIENCE) == ["ieee", "ieee"]
        assert settings() == before == (True, True)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


def test_a_program_that_explains_keeps_its_number_of_threads(
    astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def numbers() -> tuple[int, int]:
        with ThreadPoolExecutor(1) as fresh:
            return torch.get_num_threads(), fresh.submit(torch.get_num_threads).result()

    monkeypatch.setattr("ulsam_viz.engine.engine._default", None)
    torch.set_num_threads(2)
    try:
        assert numbers() == (2, 2)
        explain(astronaut, G4)
        assert numbers() == (2, 2)
    finally:
        torch.set_num_threads(1)


def test_settings_left_out_and_the_same_ones_given_are_one_computation(picture: ModelInput) -> None:
    engine, variant = Engine(workers=1), get_variant(G4)
    given = METHODS["grad_cam"].complete({})
    assert given
    results = [engine.attribute(picture, variant, method="grad_cam", target=1, settings=s) for s in (None, {}, given)]
    assert results[0].result() is results[1].result() is results[2].result()


def test_warming_runs_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[tuple[int, ...]] = []
    monkeypatch.setattr("ulsam_viz.engine.engine.attend", lambda model, x: passes.append(tuple(x.shape)))
    Engine(workers=1).warm(get_variant(G4)).result(PATIENCE)
    assert passes == [(1, 3, 224, 224)]


def test_times_are_measured_together_and_anew_for_other_networks_or_later(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[set[str]] = []

    def measure(models: dict[str, object], *, pause: object) -> dict[str, Latency]:
        measured.append(set(models))
        return {name: Latency(1.0, 0.9, 1.2) for name in models}

    clock = [1000.0]
    monkeypatch.setattr("ulsam_viz.engine.engine.measure_latencies", measure)
    monkeypatch.setattr("ulsam_viz.engine.engine.time.monotonic", lambda: clock[0])
    engine, a, b = Engine(workers=1), get_variant(G4), get_variant("mobilenet_v1-0.5-plain")
    engine.latency([a, b]).result(PATIENCE)
    assert set(engine.latency([b, a]).result(PATIENCE)) == {a.key, b.key}
    engine.latency([a]).result(PATIENCE)
    clock[0] += 3600
    engine.latency([a, b]).result(PATIENCE)
    assert measured == [{a.key, b.key}, {a.key}, {a.key, b.key}]


def test_a_pass_never_waits_for_times_to_be_measured(picture: ModelInput, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, asked = threading.Event(), threading.Event()
    futures: list[Future[Attention]] = []
    done: list[bool] = []

    def milliseconds(*_: object) -> float:
        begun.set()
        asked.wait(PATIENCE)
        done.append(futures[0].done())
        return 1.0

    monkeypatch.setattr("ulsam_viz.models.cost._milliseconds", milliseconds)
    engine, variant = Engine(workers=1), get_variant(G4)
    times = engine.latency([variant])
    assert begun.wait(PATIENCE)
    futures.append(engine.attend(picture, variant))
    asked.set()
    assert times.result(PATIENCE)[variant.key] == Latency(1.0, 1.0, 1.0)
    assert done[0] is False and done[-1] is True  # the one thread let it go first


def test_networks_are_timed_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[nn.Module] = []

    def milliseconds(model: nn.Module, _: torch.Tensor) -> float:
        order.append(model)
        return float(len(order))

    monkeypatch.setattr("ulsam_viz.models.cost._milliseconds", milliseconds)
    a, b = (MobileNetV1(0.25, 3).eval() for _ in range(2))
    times = measure_latencies({"a": (a, 32), "b": (b, 32)}, repeats=3)
    assert order == [a, a, b, b] * 4  # each turn brings the network back into the caches; the first warms up
    assert times == {"a": Latency(10, 8, 12), "b": Latency(12, 10, 14)}
    assert str(times["a"]) == "10.0 ms (8.0 to 12.0)"
