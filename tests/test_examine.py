"""Questions about a view: measures on demand, boxes, stopping, and what a new run of the page keeps computing."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from tests.patience import PATIENCE
from tests.test_app import APP, fine, text_of
from ulsam_viz.analysis.faithfulness import BASELINE_MAPS, BASELINES, Box
from ulsam_viz.figures.words import change_note, map_note
from ulsam_viz.images.preprocessing import ModelInput, Preprocessing
from ulsam_viz.questions.describe import NINTH, what_it_does
from ulsam_viz.questions.view import Topic
from ulsam_viz.report.contact_sheet import flatten
from ulsam_viz.ui.choose import box as boxes
from ulsam_viz.ui.run.requests import _remember
from ulsam_viz.ui.run.session import Pending, Watch


@pytest.fixture
def app() -> AppTest:
    app = AppTest.from_file(APP, default_timeout=PATIENCE)
    app.query_params["net"] = "V1-0.5"  # a fast one
    app.query_params["subspace"] = "layer 11, subspace 1"
    app.query_params["question"] = "Is it faithful?"
    app.query_params["methods"] = ["Saliency", "Occlusion"]
    return app


def tables(app: AppTest) -> list[Any]:
    """Return the tables that have a row for each map."""
    return [found.value for found in app.dataframe if "map" in found.value]


def test_captums_metrics_come_when_asked_for_and_costly_methods_are_left_out_by_name(app: AppTest) -> None:
    fine(app.run())
    assert len(tables(app)) == 1
    fine(app.toggle(key="robust").set_value(True).run())
    table = tables(app)[-1].set_index("map")
    assert list(table.index)[-3:] == [f"{name} (ignores the network)" for name in BASELINES]
    assert table["infidelity"].between(0, 100).all()
    assert table["max-sensitivity"].isna().sum() == 1  # occlusion
    assert table.loc["Saliency", "its passes"] == 9
    assert table.loc["Saliency", "max-sensitivity"] > table.loc["Subspace 1", "max-sensitivity"] > 0
    assert "Left out, as they cost more: Occlusion (1530 passes)" in text_of(app)
    assert "1.2 of 255 grey levels" in text_of(app)
    # All that was found out is in the archive.
    arrays: dict[str, np.ndarray] = {}
    found = json.loads(json.dumps(flatten(app.session_state["examined"], "examined", arrays)))
    (infidelity,) = (value for name, value in found.items() if name.startswith("infidelity"))
    assert infidelity["Occlusion"]["share"] * 100 == pytest.approx(table.loc["Occlusion", "infidelity"])
    assert {name for name in found if name.startswith("sensitivity")} >= {"sensitivity_layer_11"}
    assert all(re.fullmatch(r"[a-z-]+_(layer|of|class)_\w+", name) for name in found)  # no hashes, no brackets
    assert {name.split("_")[0] for name in found} == {
        "baselines",
        "faithful",
        "marked-places",
        "infidelity",
        "sensitivity",
    }
    assert found["marked-places_layer_11"]["box"] == {"top": 11, "left": 40, "bottom": 170, "right": 166}  # the cup
    assert len(found["marked-places_layer_11"]["table"]) == len(tables(app)[0])


def test_the_attribution_that_maps_are_compared_with_is_not_compared_with_itself(app: AppTest) -> None:
    fine(app.run())
    table = tables(app)[0].set_index("map")[["ρ", "top 20 % shared"]]
    (compared_with,) = {
        found["compared with"]
        for topic, found in app.session_state["examined"].items()
        if topic.kind == "marked-places"
    }
    assert compared_with == "Saliency"
    random = list(table.index[-3:])
    assert all("mean" in name for name in random)  # of several maps: they are at no one place
    assert (
        list(table.index[table["top 20 % shared"].isna()])
        == list(table.index[table["ρ"].isna()])
        == [compared_with, *random]
    )


def test_what_is_covered_has_the_colour_that_the_network_gets() -> None:
    crop = ModelInput(np.full((32, 32, 3), 7, np.uint8), "grey", torch.ones(1, 3, 32, 32))
    box = Box(4, 8, 12, 16)
    for preprocessing in (Preprocessing(32), Preprocessing(32, mean=(0.5, 0.25, 0.125))):
        found = boxes.cover(crop, box, preprocessing)
        covered = found.pixels
        assert ((covered != 7).all(2).sum(), (covered[4:12, 8:16] != 7).all()) == (64, True)  # the box and nothing else
        seen = preprocessing.normalize(torch.from_numpy(covered).permute(2, 0, 1))[:, 4:12, 8:16]
        assert float(seen.abs().max()) < 0.51 / 255 / 0.22  # 0, but for whole grey levels
        assert (int((found.tensor == 0).sum()), float(found.tensor[:, :, 4:12, 8:16].abs().max())) == (3 * 64, 0.0)
        assert found.key != crop.key
    assert tuple(boxes.cover(crop, box, Preprocessing(32)).pixels[4, 8]) == (124, 116, 104)


def test_the_address_restores_box_and_measures(app: AppTest) -> None:
    app.query_params["methods"] = "Saliency"
    app.query_params["robust"] = "true"
    app.query_params["robust-limit"] = "300 passes"
    app.query_params["box-rows"] = ["0", "112"]
    app.query_params["box-columns"] = ["0", "112"]
    text = text_of(fine(app.run()))
    assert "the box holds 25% of the picture" in text
    assert "Left out" not in text
    assert len(tables(app)) == 2


def test_nonsense_in_the_address_falls_back(app: AppTest) -> None:
    for key, value in {
        "box-rows": ["x", "y"],
        "box-columns": ["-5", "9000"],
        "robust": "perhaps",
        "robust-limit": "7",
    }.items():
        app.query_params[key] = value
    assert "of the picture. Smooth maps" in text_of(fine(app.run()))
    assert not app.error
    app.query_params["question"] = "Cover a part"
    app.query_params["cover-rows"] = ["224", "224"]  # an empty box covers one row
    fine(app.run())
    assert not app.error


def test_a_drawn_box_moves_the_sliders_and_stays_in_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {"box-picture": SimpleNamespace(boxed={"id": "box", "box": [-0.1, 0.25, 0.5, 7]})}
    monkeypatch.setattr("streamlit.session_state", state)
    boxes._take("box", 224)
    assert (state["box-rows"], state["box-columns"]) == ((0, 112), (56, 224))


class Everything(set[Hashable]):
    """Questions that were stopped: all, until one is asked again."""

    def __contains__(self, _: object) -> bool:
        return not self

    def discard(self, question: Hashable) -> None:
        self.add(question)


def test_a_stopped_question_is_not_computed_until_it_is_asked_again(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.query_params["methods"] = "Grad-CAM"
    app.session_state["stopped"] = Everything()
    text = text_of(fine(app.run()))
    assert f"Stopped: inserting and deleting pixels in {BASELINE_MAPS} orders that ignore the network." in text
    assert "This address restores the view" in text
    assert not tables(app)
    (again,) = (button for button in app.button if button.label == "Ask again")
    text = text_of(fine(again.click().run()))
    assert "Stopped" not in text
    assert len(tables(app)) == 1


def test_a_run_lets_go_of_earlier_ones_when_it_has_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[list[Future[Any]]] = []

    class Records:
        def release(self, futures: Iterable[Future[Any]]) -> None:
            gone.append(list(futures))

    monkeypatch.setattr("ulsam_viz.ui.run.session.default_engine", Records)
    first, second, third = (Future[Any]() for _ in range(3))
    asked = Pending()
    asked.begin()
    asked.now += [first, second]
    asked.begin()  # interrupted, and then again
    asked.begin()
    asked.now.append(third)
    assert not gone
    asked.release_earlier()
    asked.release_earlier()
    assert gone == [[first, second], []]
    assert asked.now == [third]


def test_what_two_threads_let_go_of_at_once_is_released_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[list[Future[Any]]] = []
    asked, future = Pending(), Future[Any]()

    class Interrupted:
        def release(self, futures: Iterable[Future[Any]]) -> None:
            gone.append(list(futures))
            if len(gone) < 3:
                asked.release_earlier()  # as a second thread does before the first is done

    monkeypatch.setattr("ulsam_viz.ui.run.session.default_engine", Interrupted)
    asked.now.append(future)
    asked.begin()
    asked.release_earlier()
    assert gone == [[future], [], []]


def test_places_matter_only_beyond_chance_and_beyond_a_smallest_size() -> None:
    def say(off: float, mean: float, spread: float, *, dead: bool = False) -> str:
        return what_it_does(0, "cup", off, (mean, spread), smallest=0.03, dead=dead)

    assert "it matters *where* it looks" in say(-0.1, -0.031, 0.03)
    assert "no difference that can be seen" in say(-0.1, -0.031, 0.032)  # large, but so is chance
    assert "too little to matter" in say(-0.1, -0.029, 0.001)  # beyond chance, but small
    assert "too little to matter" in say(-0.1, 0.0009, 0.0001)
    uniform = say(-0.1, -2e-7, 1e-7, dead=True)  # float noise of a shuffle that changes nothing
    assert "there are no places to shuffle" in uniform and "matters" not in uniform
    assert "does not move" in say(1e-6, 0, 0, dead=True)


def test_an_effect_below_the_smallest_size_is_called_so() -> None:
    assert "less than the 0.030 that could matter" in what_it_does(0, "cup", -0.029, (0, 1), smallest=0.03, dead=True)
    assert "could matter" not in what_it_does(0, "cup", -0.031, (0, 1), smallest=0.03, dead=True)


def test_the_range_in_words_is_the_band_of_the_chart() -> None:
    """Both are changes against the network as trained; the bar "attention off" is one, too."""
    said = what_it_does(0, "cup", -0.1, (-0.04, 0.01), smallest=0.03, dead=False)
    assert "moves by -0.1000; with its places shuffled, by -0.0500 to -0.0300" in said


def test_the_band_holds_one_more_shuffle_in_95_of_100_cases() -> None:
    draws = np.random.default_rng(0).standard_normal((20_000, 9))
    first, ninth = draws[:, :8], draws[:, 8]
    inside = abs(ninth - first.mean(1)) < NINTH * first.std(1, ddof=1)
    assert inside.mean() == pytest.approx(0.95, abs=0.005)


def test_a_session_keeps_as_much_as_it_may_and_the_latest_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ulsam_viz.ui.run.requests._KEPT_BYTES", 100)
    found: dict[Topic, np.ndarray] = {}
    for name in ("a", "b", "a", "c"):
        _remember(found, Topic(name, (), name), np.zeros(5))  # 40 bytes
    assert [topic.kind for topic in found] == ["a", "c"]
    _remember(found, Topic("large", (), "large"), np.zeros(500))
    assert [topic.kind for topic in found] == ["large"]


def test_what_visitors_who_left_had_asked_for_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[Future[Any]] = []

    class Records:
        def release(self, futures: Iterable[Future[Any]]) -> None:
            gone.extend(futures)

    monkeypatch.setattr("ulsam_viz.ui.run.session.default_engine", Records)
    first, second, third = (Future[Any]() for _ in range(3))
    watch = Watch({"here": Pending([first]), "left": Pending([second], [third])})
    watch.look(lambda session: session == "here")
    assert set(gone) == {second, third}
    assert list(watch.sessions) == ["here"]


def test_a_maps_note_names_what_it_was() -> None:
    flat, peaked = np.full((4, 4), 1 / 16), np.full((4, 4), 0.5 / 15)
    peaked[1, 2] = 0.5
    assert change_note(peaked, peaked) == "area 48% (was 48%), peak 8.0× (was 8.0×)"
    assert change_note(flat, peaked) == f"uniform for this picture (was: {map_note(peaked)})"
    assert change_note(peaked, flat) == f"{map_note(peaked)} (was: uniform for this picture)"
