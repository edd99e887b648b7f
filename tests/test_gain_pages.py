"""Both gains, and other papers' modules, on the pages."""

from __future__ import annotations

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests.components import mounted
from tests.patience import PATIENCE
from tests.test_app import APP, fine, text_of
from tests.test_pages import compare, evidence, page
from ulsam_viz.evidence import experiments as studies
from ulsam_viz.models.others import SPATIAL
from ulsam_viz.ui.compare.modules import relative_gain
from ulsam_viz.zoo.variants import get_variant, list_variants


def app_at(**query: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=PATIENCE)
    app.query_params["net"] = "V1-0.5"
    for key, value in query.items():
        app.query_params[key] = value
    return fine(app.run())


def test_the_gain_is_chosen_where_both_were_trained_and_only_there() -> None:
    app = app_at(position="after 11", g="4")
    assert "mobilenet_v1-0.5-after11-g4\n" in text_of(app) or "mobilenet_v1-0.5-after11-g4<" in text_of(app)
    fine(app.selectbox(key="gain").set_value("normalised").run())
    assert "mobilenet_v1-0.5-after11-g4-normalised" in text_of(app)
    assert "ours and not the paper's" in text_of(app)
    assert app.query_params["gain"] in ("normalised", ["normalised"])
    assert set(app.select_slider(key="position").options) == {"none (plain)", "after 11", "after 6, 8, 11, 13"}
    fine(app.segmented_control(key="net").set_value("V2-0.5").run())
    assert not any(box.key == "gain" for box in app.selectbox)


def test_a_position_that_the_normalised_gain_lacks_is_said() -> None:
    app = app_at(position="after 4", g="8")
    fine(app.selectbox(key="gain").set_value("normalised").run())
    assert "mobilenet_v1-0.5-after11-g8-normalised" in text_of(app)
    assert "V1-0.5 has no position “after 4”; after 11 is shown" in text_of(app)


def test_two_gains_of_one_network_stand_beside_each_other() -> None:
    app = page(compare, way="two", position="after 11", g="16", **{"second-gain": "normalised"})
    assert [app.select_slider(key=key).value for key in ("g", "second-g")] == [16, 16]
    headings = [row["heading"] for row in mounted(app, "tiles")][:2]
    assert headings[0].startswith("after 11, g = 16 · ") and headings[1].startswith(
        "after 11, normalised gain, g = 16 · "
    )


def test_other_modules_stand_beside_ulsam_on_one_scale() -> None:
    app = page(compare, way="modules", g="4")
    rows = [row for row in mounted(app, "tiles") if row["heading"]]  # not the strip of samples
    titles = ["ULSAM, g = 4 (WACV 2020)", "ULSAM, g = 4, normalised gain (ours)", "BAM", "CBAM", "SimAM"]
    assert len(rows) == len(titles) and all(row["heading"].startswith(t) for row, t in zip(rows, titles, strict=True))
    assert [len(row["tiles"]) for row in rows] == [4, 4, 1, 1, 1]
    ends = {
        (r["low"], r["high"]) for row in rows for tile in row["tiles"] for r in tile["drawing"]["readings"].values()
    }
    assert ends == {(0.5, 2.0)}
    (table,) = (frame.value for frame in app.dataframe)
    published, normalised = table["largest"][:2]
    assert 1 < published < 1.2 < normalised  # as published, the gain hardly moves
    assert "SE and ECA weigh channels alone" in text_of(app) or any(
        "SE and ECA" in c.help for c in app.caption if c.help
    )


@pytest.mark.parametrize("name", ["mobilenet_v1-0.5-after11-g4", "mobilenet_v1-0.5-after11-g4-normalised"])
def test_a_gain_relative_to_its_mean_has_mean_1(name: str) -> None:
    maps = np.random.default_rng(0).dirichlet(np.ones(196), 4).reshape(4, 14, 14)
    scaled = relative_gain(maps, get_variant(name))
    assert scaled.values.mean((1, 2)) == pytest.approx(1)
    gain = (1 + maps) / (1 + 1 / 196) if name.endswith("g4") else (1 + 196 * maps) / 2
    assert scaled.values == pytest.approx(gain)


@pytest.mark.parametrize("module", SPATIAL)
def test_other_modules_maps_are_ratios_already(module: str) -> None:
    maps = np.random.default_rng(0).dirichlet(np.ones(196), 1).reshape(1, 14, 14)
    assert relative_gain(maps, get_variant(f"mobilenet_v1-0.5-after11-{module}")).values == pytest.approx(196 * maps)


def test_evidence_says_what_follows_from_the_experiments() -> None:
    app = AppTest.from_function(evidence, default_timeout=PATIENCE)
    app.session_state["evidence-experiments"] = True
    app.query_params["net"] = "V1-0.5"
    text = text_of(fine(app.run()))
    for said in studies.from_the_start(list_variants(study="start")):
        assert said in text
    zoo = list_variants()
    v1 = [v for v in zoo if v.backbone == "mobilenet_v1"]
    assert len(studies.gain_may_act(v1)) == 2 and all(said in text for said in studies.gain_may_act(v1))
    compared = studies.modules_compared(list_variants(study="gain"), zoo)
    assert len(compared) == 8 and all(said in text for said in studies.modules_in_words(compared))
    table = next(frame.value for frame in app.dataframe if "module" in frame.value)
    assert table["module"].tolist() == [studies.module_title(v) for v in compared]
    assert "no “normalised” gain" not in text and "Not tested" in text


def test_free_attention_acts_at_least_five_times_as_much_as_the_published_one() -> None:
    """What the experiment was made for, over the group counts after four layers; in the manifest's own figures."""
    zoo = list_variants()
    own = [v for v in zoo if v.placement and v.placement.layers == (6, 8, 11, 13)]
    free, published = (
        [studies.without_attention(v).mean for v in own if v.gain == gain] for gain in ("normalised", "published")
    )
    assert len(free) == len(published) == 5
    assert sum(free) >= 5 * sum(published)
    assert all(a > 2 * b for a, b in zip(free, published, strict=True))
