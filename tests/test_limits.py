"""What one visitor may have, and all of them together.

Said calmly where it is reached, and set by whoever runs a server.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.patience import PATIENCE
from tests.test_app import APP, fine, text_of
from ulsam_viz.engine import engine as engine_module
from ulsam_viz.engine.engine import Engine, TooMuchError
from ulsam_viz.images.preprocessing import ModelInput
from ulsam_viz.ui import run_page as pages
from ulsam_viz.ui.run.limits import UPLOADS, VISITORS, limit
from ulsam_viz.ui.run.session import Pending, Watch
from ulsam_viz.zoo.variants import get_variant

VARIANT = get_variant("mobilenet_v1-0.5-plain")


def test_limits_are_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, usual in ((VISITORS, 100), (UPLOADS, 256)):
        monkeypatch.delenv(name, raising=False)
        assert limit(name) == usual
        monkeypatch.setenv(name, "7")
        assert limit(name) == 7
        for wrong in ("0", "-3", "many"):
            monkeypatch.setenv(name, wrong)
            assert limit(name) == limit(name) == usual
            assert capsys.readouterr().err.count(f"{name} is a number from 1, not '{wrong}'") == 1


def test_who_is_there_stays_and_who_comes_waits() -> None:
    watch = Watch({"a": Pending(), "b": Pending()})
    assert [watch.has_room(session, 2) for session in ("a", "b", "c")] == [True, True, False]
    assert watch.has_room("c", 3)
    watch.look(lambda session: session != "a")
    assert watch.has_room("c", 2)


def test_what_a_page_waits_for_is_kept_until_it_stops_though_its_visitor_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone: list[Future[Any]] = []

    class Records:
        def release(self, futures: Iterable[Future[Any]]) -> None:
            gone.extend(futures)

    monkeypatch.setattr("ulsam_viz.ui.run.session.default_engine", Records)
    asked, future = Pending(), Future[Any]()
    watch = Watch({"a": asked})
    with suppress(InterruptedError), asked.run():
        asked.now.append(future)
        watch.look(lambda _: False)
        assert not gone and watch.sessions
        raise InterruptedError  # as Streamlit stops a page
    watch.look(lambda _: False)
    assert gone == [future] and not watch.sessions


@pytest.mark.parametrize("stays", [True, False])
def test_what_was_cancelled_is_asked_again_for_who_is_there(monkeypatch: pytest.MonkeyPatch, stays: bool) -> None:
    show, times = pages._SHOWS["Inspect"], []

    def cancelled_once() -> None:
        times.append(1)
        if len(times) == 1:
            raise CancelledError
        show()

    monkeypatch.setitem(pages._SHOWS, "Inspect", cancelled_once)
    monkeypatch.setattr(pages, "is_there", lambda: stays)
    app = AppTest.from_file(APP, default_timeout=PATIENCE)
    app.query_params["net"] = "V1-0.5"
    fine(app.run())
    assert len(times) == 1 + stays
    assert ("after layer 11" in text_of(app)) == stays


def test_a_full_server_says_so_and_lets_one_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    full = True
    monkeypatch.setattr(pages, "is_full", lambda: full)
    app = AppTest.from_file(APP, default_timeout=PATIENCE)
    app.query_params["net"] = "V1-0.5"
    fine(app.run())
    (said,) = app.info
    assert "As many people" in said.value and "subspace" not in text_of(app)
    full = False
    fine(app.button(key="try-again").click().run())
    assert not app.info and "after layer 11" in text_of(app)


def test_nobody_waits_for_more_than_the_line_holds(monkeypatch: pytest.MonkeyPatch, picture: ModelInput) -> None:
    monkeypatch.setattr(engine_module, "_MOST_WAITING", 3)
    engine, started, go = Engine(workers=1), threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        started.set()
        go.wait(PATIENCE)

    first = engine.run("first", picture, VARIANT, "cpu", hold, visitor="one")
    assert started.wait(PATIENCE)
    mine = [engine.run(n, picture, VARIANT, "cpu", lambda *_: None, visitor="one") for n in range(3)]
    with pytest.raises(TooMuchError, match="You already wait for 3 computations"):
        engine.run("more", picture, VARIANT, "cpu", lambda *_: None, visitor="one")
    # The same again is no more
    assert engine.run(0, picture, VARIANT, "cpu", lambda *_: None, visitor="one") is mine[0]
    others = engine.run("theirs", picture, VARIANT, "cpu", lambda *_: 7, visitor="two")
    assert engine.ahead_of(others) == 1  # their turn comes after one of the first's three
    engine.release(mine[:1] * 2)
    again = engine.run("more", picture, VARIANT, "cpu", lambda *_: 8, visitor="one")
    go.set()
    first.result(PATIENCE)
    assert (others.result(PATIENCE), again.result(PATIENCE)) == (7, 8)


def test_a_page_that_asks_for_too_much_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much() -> None:
        raise TooMuchError("You already wait for 300 computations; look at this again in a moment.")

    monkeypatch.setitem(pages._SHOWS, "Inspect", too_much)
    app = fine(AppTest.from_file(APP, default_timeout=PATIENCE).run())
    (error,) = app.error
    assert error.value.startswith("You already wait")
