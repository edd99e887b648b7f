"""Asking the engine a question about the view, and waiting for the answer in sight of the visitor, who can stop it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...analysis.attribution import Attribution
from ...engine.caching import size_of
from ...engine.engine import DeviceChoice, Pause, default_engine
from ...models.network import Network
from ...questions.view import Topic, View, topic_of
from ...text.escaping import escape_markdown
from .scene import Scene
from .session import pending, visitor

T = TypeVar("T")
_KEPT_BYTES = 32 * 2**20  # of what a visitor has found out about a view
_QUIET = 0.3  # seconds: most answers come before anyone could read that they are waited for


def asked_of(scene: Scene, attributions: Mapping[str, Attribution] | None = None) -> View:
    """Return a view as questions are asked of it."""
    return View(
        scene.variant,
        scene.crop,
        scene.device.device,
        scene.target,
        scene.attention.maps,
        attributions or {},
        scene.methods,
    )


def answer(
    scene: Scene, name: tuple[Hashable, ...], text: str, work: Callable[[Network, Pause], T], *, passes: int = 0
) -> T | None:
    """Compute something with the variant's network, saying meanwhile what, how far and where in line.

    Args:
        scene: The view.
        name: With the scene's picture, variant and device, everything that the answer depends on.
        text: What is computed, for people.
        work: See :meth:`ulsam_viz.engine.engine.Engine.run`.
        passes: How many pictures it sends through the whole network, where that is known.

    Returns:
        The answer; None if it failed, or the visitor has stopped it and not asked again.
    """
    question = (scene.variant.key, scene.crop.key, scene.device.device, name)
    label = "-".join(map(str, name))
    stopped: set[Hashable] = st.session_state.setdefault("stopped", set())
    place = st.empty()  # always there: if elements moved, the browser would show an old line beside the new one
    if question in stopped:
        with place.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Stopped: {escape_markdown(text)}.", width="content")
            st.button("Ask again", key=f"again-{label}", on_click=stopped.discard, args=(question,))
        return None
    mine, engine = pending(), default_engine()
    future: Future[T] = engine.run(name, scene.crop, scene.variant, scene.device.device, work, visitor=visitor())
    mine.now.append(future)
    if not future.done():
        mine.release_earlier()
        _wait(place, future, text, passes, label, lambda: stopped.add(question))
    if error := future.exception():
        st.error(f"That could not be computed: {escape_markdown(str(error))}")
        return None
    say_where([future], scene.device)
    _remember(examined(scene), topic_of(name, scene.variant.classes), future.result())
    return future.result()


def compute(scene: Scene, name: tuple[Hashable, ...], work: Callable[[Network, Pause], T]) -> T:
    """Compute the same without a page to show it on: for a file that is made while no page runs."""
    return default_engine().run(name, scene.crop, scene.variant, scene.device.device, work).result()


def say_where(futures: Iterable[Future[Any]], device: DeviceChoice) -> None:
    """Say so where finished computations were not made on the chosen device, since it was full."""
    engine = default_engine()
    for reason in filter(None, {engine.really(future, device).reason for future in futures} - {device.reason}):
        st.caption(f":material/info: {escape_markdown(reason)}")


def _remember(found: dict[Topic, Any], topic: Topic, result: Any) -> None:
    """Keep a result, and of earlier ones as many as a session may hold; the latest comes last."""
    found.pop(topic, None)
    found[topic] = result
    while len(found) > 1 and sum(map(size_of, found.values())) > _KEPT_BYTES:
        del found[next(iter(found))]


def _wait(
    place: DeltaGenerator, future: Future[Any], text: str, passes: int, label: str, stop: Callable[[], None]
) -> None:
    """Show how far a computation is, and a button that stops it: the next run of the page then does not ask for it."""
    begun = time.monotonic()
    wait([future], timeout=_QUIET)
    if future.done():
        return
    engine = default_engine()
    with place.container(horizontal=True, vertical_alignment="center"):
        line = st.empty()
        st.button("Stop", key=f"stop-{label}", on_click=stop, icon=":material/stop_circle:")
    while not future.done():
        ahead = engine.ahead_of(future)
        far = f"{engine.passes(future)} of {passes} passes" if passes else f"{time.monotonic() - begun:.0f} s"
        line.caption(
            f":material/hourglass_empty: {escape_markdown(text)}: "
            + (f"in line, {ahead} before it" if ahead is not None else far),
            width="content",
        )
        wait([future], timeout=0.1)  # short: a visitor who moves on interrupts at the next call
    place.empty()


def examined(scene: Scene) -> dict[Topic, Any]:
    """Return what this visitor has found out about this picture and network, by question.

    Kept for the session's view.
    """
    key = (scene.variant.key, scene.crop.key)
    if st.session_state.get("examined_key") != key:
        st.session_state["examined_key"], st.session_state["examined"] = key, {}
    found: dict[Topic, Any] = st.session_state["examined"]
    return found


def subspace_names(scene: Scene, number: int) -> list[str]:
    """Name a layer's subspaces, from 1."""
    return [f"Subspace {i + 1}" for i in range(len(scene.attention.maps[number]))]
