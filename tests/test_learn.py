"""The page Learn without a browser."""

from __future__ import annotations

import re
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.patience import PATIENCE
from tests.test_app import fine, text_of
from tests.test_pages import charts
from ulsam_viz.engine.engine import Engine
from ulsam_viz.lesson.probes import PROBES
from ulsam_viz.lesson.steps import QUIZ, STEPS


def learn() -> None:
    from ulsam_viz.ui.learn import page as learn_page

    learn_page.show()


def page(**query: str) -> AppTest:
    app = AppTest.from_function(learn, default_timeout=PATIENCE)
    app.query_params["net"] = "V1-0.5"  # a fast one
    for key, value in query.items():
        app.query_params[key] = value
    return fine(app.run())


def button(app: AppTest, label: str) -> Any:
    return next(b for b in app.button if b.label == label)


def latex(app: AppTest) -> list[str]:
    return [str(e.value) for e in app.get("latex")]  # type: ignore[union-attr]


@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.title)
def test_each_step_has_its_address_its_words_and_its_numbers(step: Any) -> None:
    app = page(step=step.id, picture="Coffee cup", g="8")
    text = text_of(app)
    assert f"#### {step.title}" in text
    assert "g = 8" in text or step.id != "subspaces"
    assert not app.error
    if step.stage:
        assert len(latex(app)) == (2 if step.stage == "output" else 1)
        assert "Click any cell" in text
        assert "256 × 14 × 14 →" in text or "8 × 14 × 14 →" in text
        numbers = next(e for e in app.markdown if e.value.startswith("At row "))
        assert re.search(r"the module's own tensor (differs by \de-\d\d|is exactly that)", numbers.help)


@pytest.mark.parametrize("query", [{"step": "max-pool"}, {"step": "Max-pool"}, {"part": "Lesson", "step": "Max-pool"}])
def test_steps_have_ids_as_their_address_and_titles_of_old_addresses_become_ids(query: dict[str, str]) -> None:
    app = page(**query)
    assert "#### Max-pool" in text_of(app)
    assert app.query_params["step"] == "max-pool" and "part" not in app.query_params  # the usual part needs none
    fine(button(app, "Next").click().run())
    assert "#### Pointwise sum" in text_of(app)
    assert app.query_params["step"] == "pointwise"
    assert "#### Why attention" in text_of(page(step="No such step"))


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.id)
def test_parts_and_probes_have_ids_as_their_address(probe: Any) -> None:
    new, old = page(part="probes", probe=probe.id), page(part="Probes", probe=probe.title)
    for app in (new, old):
        assert probe.question in text_of(app)
        assert {key: app.query_params.get(key) for key in ("part", "probe")} == {
            "part": "probes",
            "probe": None if probe is PROBES[0] else probe.id,
        }


def test_back_and_next_walk_the_path_and_end_at_its_ends() -> None:
    app = page()
    assert button(app, "Back").disabled
    fine(button(app, "Next").click().run())
    assert f"#### {STEPS[1].title}" in text_of(app)
    fine(button(app, "Back").click().run())
    assert f"#### {STEPS[0].title}" in text_of(app)
    fine(app.selectbox(key="step").set_value(STEPS[-1].id).run())
    assert button(app, "Next").disabled


def test_what_a_new_visitor_follows_is_what_an_address_leaves_out() -> None:
    """The browser leaves a control's default out of the address: it must be what an address without it shows."""
    for picture in ("Cat", "Coffee cup"):
        app = page(step="Channels", picture=picture)
        numbers = [app.number_input(key=key) for key in ("row", "column", "channel")]
        assert [n.proto.default for n in numbers] == [n.value for n in numbers] != [0, 0, 0]
        fine(numbers[2].set_value(0).run())
        channel = app.number_input(key="channel")
        assert channel.value == 0 != channel.proto.default == numbers[2].proto.default


def test_another_place_channel_and_subspace_change_the_numbers_and_bad_ones_fall_back() -> None:
    app = page(step="Softmax", row="3", column="4")
    assert "row 3, column 4 of subspace 1" in text_of(app)
    first = latex(app)[0]
    fine(app.number_input(key="row").set_value(9).run())
    assert "row 9, column 4 of subspace 1" in text_of(app)
    assert latex(app)[0] != first
    fine(app.selectbox(key="subspace").set_value("layer 11, subspace 3").run())
    assert "row 9, column 4 of subspace 3" in text_of(app)
    assert app.number_input(key="channel").value in range(128, 192)
    wrong = page(step="Max-pool", row="99", column="abc", channel="100000")
    assert re.search(r"At row \d+, column \d+ of channel \d+:", text_of(wrong))


def test_a_place_of_a_network_that_has_a_finer_grid_is_moved_into_a_coarser_one() -> None:
    app = page(step="Softmax", position="after 6, 8, 11, 13", subspace="layer 6, subspace 1", row="27", column="27")
    assert "row 27, column 27" in text_of(app)
    fine(app.selectbox(key="subspace").set_value("layer 13, subspace 1").run())
    assert re.search(r"At row [0-6], column [0-6] of subspace 1", text_of(app))


def test_the_plain_control_offers_the_way_to_a_module() -> None:
    app = page(position="none (plain)")
    assert "carries no module" in app.info[0].value
    fine(button(app, "Put a module after layer 11").click().run())
    assert not app.info
    assert f"#### {STEPS[0].title}" in text_of(app)
    for part in ("Experiments", "Probes"):
        assert "plain control" in page(part=part, position="none (plain)").info[0].value


def test_g_can_be_moved_within_the_lesson() -> None:
    app = page(step="Splitting into subspaces")
    fine(app.button_group(key="lesson-g").set_value(16).run())
    assert "g = 16 *subspaces* of 16" in text_of(app)
    assert next(s for s in app.select_slider if s.label == "Subspaces g").value == 16


def test_a_prediction_is_judged_by_the_computation() -> None:
    app = page(step="Output and joining")
    radio = next(r for r in app.radio if "matters most" in r.label)
    assert not charts(app)
    fine(radio.set_value("Subspace 2").run())
    bars = charts(app)[0]["data"][0]
    largest = max(zip(bars["customdata"], bars["x"], strict=True), key=lambda pair: abs(pair[1]))[0]
    said = [e.value for e in [*app.success, *app.info]]
    assert any(f"{largest} moves it most" in text for text in said)
    assert bool(app.success) == (largest == "Subspace 2")

    app = page(step="What changes with g")
    assert "g = 16: mean effective area" not in text_of(app)
    radio = next(r for r in app.radio if "compared with" in r.label)
    fine(radio.set_value(radio.options[1]).run())
    areas = dict(re.findall(r"g = (\d+): mean effective area (\d+)%", text_of(app)))
    verdict = next(e.value for e in [*app.success, *app.info])
    ratio = int(areas["16"]) / int(areas["4"])
    assert ("about as wide" in verdict) == (0.9 <= ratio <= 1.1) or abs(ratio - 1) == pytest.approx(0.1, abs=0.02)


def test_cost_is_evaluated_and_measured_and_refuses_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by a millisecond whenever it is read.

    What is shown is what was measured, on any machine.
    """
    milliseconds = count()
    monkeypatch.setattr("ulsam_viz.models.cost.time", SimpleNamespace(perf_counter=lambda: next(milliseconds) / 1000))
    monkeypatch.setattr("ulsam_viz.engine.engine._default", Engine(workers=1))
    assert "Max-pool" in text_of(page(step="Max-pool", row="9" * 5000, channel="-1"))  # an address from anywhere
    app = page(step="What it costs", position="after 11")
    table = app.dataframe[0].value
    assert table["parameters"].tolist()[-1] == 2 * 256
    loop, rewritten, copied, network = (float(m.value.split()[0]) for m in app.metric)
    readings = 4 * 9 + 1  # nine steps in each of four groups, and joining
    assert (loop, rewritten, copied, network) == (readings + 2, 1, 1, 1)
    steps = app.dataframe[1].value
    assert steps["step"].tolist() == [
        "DW",
        "BN",
        "ReLU",
        "max-pool",
        "PW",
        "BN of the map",
        "ReLU of the map",
        "softmax",
        "gain",
        "joining",
    ]
    assert steps["time"].tolist() == pytest.approx([4] * 9 + [1])
    assert steps["MACs (million)"].sum() == pytest.approx(2 * 256 * 196 / 1e6)
    assert steps["MB read and written"].sum() > 1.6
    fine(next(n for n in app.number_input if n.label == "Channels m").set_value(512).run())
    assert app.dataframe[0].value["parameters"].tolist()[:1] == [524_288]
    assert app.dataframe[0].value["MACs (million)"].tolist()[0] == pytest.approx(102.76, abs=0.01)
    fine(next(n for n in app.number_input if n.label == "Subspaces g").set_value(3).run())
    assert "3 groups do not divide 512 channels" in app.error[0].value


def test_the_sandbox_shows_what_each_choice_does() -> None:
    app = page(part="Sandbox")
    assert "Its values sum to 1.000" in text_of(app)
    assert text_of(app).count("*dead* map") == 1  # to begin with
    fine(app.number_input(key="sand-b").set_value(-50.0).run())
    assert text_of(app).count("*dead* map") == 2
    fine(app.toggle(key="sand-relu2").set_value(False).run())
    assert "*dead* map" not in text_of(app)
    fine(app.number_input(key="sand-b").set_value(0.0).run())
    fine(app.toggle(key="sand-sigmoid").set_value(True).run())
    assert "Its values sum to 1.000" not in text_of(app)
    fine(app.number_input(key="sand-w3").set_value(1.0).run())
    fine(app.selectbox(key="preset").set_value("Everything equal").run())
    fine(app.toggle(key="sand-sigmoid").set_value(False).run())
    assert text_of(app).count("is **uniform**: all its logits are equal") == 2


def test_the_sandbox_has_both_gains_and_says_their_means() -> None:
    app = page(part="sandbox")
    assert "multiplied by; mean 1.062, 1.062" in text_of(app)  # 1 + 1/16
    fine(app.selectbox(key="sand-gain").set_value("normalised").run())
    assert "multiplied by; mean 1, 1" in text_of(app)
    again = page(part="sandbox", **{"sand-gain": "normalised"})
    assert "multiplied by; mean 1, 1" in text_of(again)
    fine(again.toggle(key="sand-residual").set_value(False).run())
    assert "multiplied by; mean 0.5, 0.5" in text_of(again)


def test_experiments_change_the_trained_network() -> None:
    app = page(part="Experiments")
    assert "Nothing is changed yet" in text_of(app)
    assert app.dataframe[0].value["Δ logit"].abs().max() < 1e-3
    fine(app.slider(key="try-s").set_value(40.0).run())
    assert "Nothing is changed yet" not in text_of(app)
    assert app.dataframe[0].value["Δ logit"].abs().max() > 1e-2
    fine(app.toggle(key="try-residual").set_value(False).run())
    assert not app.error


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.title)
def test_each_probe_answers_in_numbers(probe: Any) -> None:
    app = page(part="Probes", probe=probe.title)
    table = app.dataframe[0].value
    assert len(table) == 4
    assert all(name in table for name in probe.regions)
    assert ("correlation after moving back" in table) == bool(probe.moved)
    assert table.drop(columns="subspace").to_numpy().std() > 0
    assert ("Against an empty picture" in text_of(app)) == (probe.title != "Nothing")


def test_the_quiz_judges_gives_reasons_and_begins_anew() -> None:
    app = page(part="Quiz")
    assert "0 of 6 answered" in app.get("progress")[0].proto.text
    for i, question in enumerate(QUIZ):
        fine(app.radio(key=f"quiz-{i}").set_value(question.answers[question.right if i else 0]).run())
    assert len(app.success) == 5 and len(app.info) == 1
    assert QUIZ[0].reason in app.info[0].value
    marks = [list(app.radio(key=f"quiz-{i}").proto.captions) for i in range(len(QUIZ))]
    assert all("the right one" in mark[question.right] for mark, question in zip(marks, QUIZ, strict=True))
    assert ["your answer" in mark[0] for mark in marks] == [True] + [False] * 5
    assert "6 of 6 answered, 5 right" in app.get("progress")[0].proto.text
    fine(button(app, "Start again").click().run())
    assert not app.success and not app.info
    fine(app.radio(key="quiz-2").set_value(QUIZ[2].answers[0]).run())
    fine(button(app, "See the step").click().run())
    assert f"#### {next(s.title for s in STEPS if s.id == QUIZ[2].step)}" in text_of(app)


def test_in_present_mode_answers_come_on_demand() -> None:
    app = page(part="quiz", present="1")
    assert not app.info and not any(app.radio(key="quiz-0").proto.captions)
    fine(app.toggle(key="answer-quiz-0").set_value(True).run())
    assert QUIZ[0].reason in app.info[0].value
    assert "the right one" in app.radio(key="quiz-0").proto.captions[QUIZ[0].right]
    assert not app.success and "0 of 6 answered" in app.get("progress")[0].proto.text
    app = page(step="output", present="1")
    fine(app.toggle(key="answer-subspace").set_value(True).run())
    assert any("moves it most" in e.value and "You said" not in e.value for e in app.info)
    assert not page(step="output").get("toggle")


def test_a_step_that_the_lesson_lacks_is_named() -> None:
    def page() -> None:
        from ulsam_viz.ui.learn import steps as learn_steps

        learn_steps._choose_step()

    app = AppTest.from_function(page)
    app.query_params["step"] = "Convolutions"
    app.run()
    assert f"Step “Convolutions” is not known; “{STEPS[0].title}” is shown." in app.caption[0].value
