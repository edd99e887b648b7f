"""The page Dataset without a browser: its sources, its views, and what is said where something is missing."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from tests.components import mounted
from tests.patience import PATIENCE
from tests.tables import table_of_samples
from tests.test_app import fine, text_of
from tests.test_pages import charts, page
from ulsam_viz.batch.rows import Look
from ulsam_viz.dataset.made import MAX_PICTURES
from ulsam_viz.figures.colours import scale_maps
from ulsam_viz.images.samples import list_samples
from ulsam_viz.ui.dataset.opening import OFFERED
from ulsam_viz.ui.run.uploads import albums
from ulsam_viz.zoo.variants import get_variant

VISITOR = "test session id"  # as AppTest calls it
VIEWS = ("pictures", "distributions", "scatter", "classes", "means")


def dataset() -> None:
    from ulsam_viz.ui.dataset import page as dataset_page

    dataset_page.show()


def a_picture(number: int, size: int = 40) -> bytes:
    """Return a PNG that differs by its number."""
    pixels = np.random.default_rng(number).integers(0, 255, (size, size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table_of_samples(tmp_path_factory.mktemp("table"), "of_the_samples", 6, "mobilenet_v1-0.5-after6_8_11_13-g2")


@pytest.fixture
def offered(out: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(OFFERED, str(out))
    return out.name


def table_page(name: str, **query: str) -> AppTest:
    return page(dataset, source="table", table=name, **query)


def rows_of(app: AppTest) -> list[dict[str, Any]]:
    return [row for row in mounted(app, "tiles") if row["heading"]]


def test_the_samples_are_looked_at_first_and_show_extremes_of_each_subspace() -> None:
    app = page(dataset, position="after 11", g="4")
    rows = rows_of(app)
    assert [row["heading"] for row in rows] == [f"Subspace {k}: most to least" for k in range(1, 5)]
    assert all(len(row["tiles"]) == 6 for row in rows)
    peaks = [float(tile["note"].split(" ")[0]) for tile in rows[0]["tiles"]]
    assert peaks == sorted(peaks, reverse=True)
    assert f"{len(list_samples())} pictures" in text_of(app)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_an_opened_table_shows_it(offered: str, view: str) -> None:
    app = table_page(offered, look=view)
    assert "6 pictures" in text_of(app) and "MobileNet-V1 0.5 with 2 subspaces after layers 6, 8, 11, 13" in text_of(
        app
    )
    if view == "pictures":
        assert [len(row["tiles"]) for row in rows_of(app)] == [6, 6]
    elif view == "distributions":
        (figure,) = charts(app)
        assert len(figure["data"]) == 8  # two subspaces in four layers
        medians = app.dataframe[0].value["50 %"].tolist()
        assert [box["median"][0] for box in figure["data"]] == pytest.approx(medians)
        fine(app.selectbox(key="measure").set_value("dead").run())
        assert [bar["type"] for bar in charts(app)[0]["data"]] == ["bar"] * 4
    elif view == "scatter":
        (figure,) = charts(app)
        assert figure["data"][0]["customdata"] and len(mounted(app, "hover")) == 1
    elif view == "classes":
        assert "by chance up to" in text_of(app) or "No subspace depends" in text_of(app)
        assert app.dataframe[0].value["subspace"].tolist() == [1, 2]
    else:
        (row,) = rows_of(app)
        assert row["heading"] == "Mean maps of layer 13 over 6 pictures" and all(
            "same" in t["note"] for t in row["tiles"]
        )


def test_folders_of_one_name_are_all_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("cats/table", "dogs/table", "dogs/other", "none", "cats/../cats/table")]
    monkeypatch.setenv(OFFERED, os.pathsep.join(map(str, folders)))
    offered = page(dataset, source="table").selectbox(key="table").options
    assert offered == ["none", "cats/table", "dogs/table", "other", f"{tmp_path.name}/none"]


def test_two_tables_stand_side_by_side(offered: str) -> None:
    app = page(dataset, source="table", table=offered, **{"beside-table": offered}, look="means")
    assert [row["heading"] for row in rows_of(app)] == ["Mean maps of layer 13 over 6 pictures"] * 2
    app = page(dataset, position="after 11", g="2", beside="mobilenet_v1-0.5-after11-g4", look="means")
    rows = rows_of(app)
    assert [len(row["tiles"]) for row in rows] == [2, 4]
    ends = {
        (r["low"], r["high"]) for row in rows for tile in row["tiles"] for r in tile["drawing"]["readings"].values()
    }
    assert len(ends) == 1 and all(low * high == 1 and high >= 2 for low, high in ends)  # both tables on one scale


def copy_of(out: Path, tmp_path: Path, **settings: str) -> Path:
    """Copy a table, with other settings."""
    copied = Path(shutil.copytree(out, tmp_path / out.name))
    record = json.loads((copied / "settings.json").read_text(encoding="utf-8"))
    (copied / "settings.json").write_text(json.dumps(record | settings), encoding="utf-8")
    return copied


def test_a_network_that_is_not_here_is_said_and_leads_nowhere(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OFFERED, str(copy_of(out, tmp_path, variant="mobilenet_v9-g2")))
    app = table_page(out.name)
    assert "mobilenet_v9-g2" in text_of(app) and "This network is not here" in text_of(app)
    assert not any(tile["selectable"] for row in rows_of(app) for tile in row["tiles"])
    app = table_page(out.name, look="scatter")
    assert app.button(key="scatter-0-inspect").disabled


def test_a_network_that_is_here_leads_to_inspect(offered: str) -> None:
    app = table_page(offered)
    assert "not here" not in text_of(app) and all(tile["selectable"] for row in rows_of(app) for tile in row["tiles"])
    assert not table_page(offered, look="scatter").button(key="scatter-0-inspect").disabled


def test_maps_that_cannot_be_read_are_said_to_be_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of_samples(tmp_path, "damaged", 4, "mobilenet_v1-0.5-after11-g2", part=2)
    monkeypatch.setenv(OFFERED, str(table))
    first, second = sorted((table / "maps").iterdir())
    first.write_bytes(b"damaged")
    app = table_page(table.name, look="means")
    assert "The maps of 2 of 4 pictures cannot be read" in app.info[0].value
    assert [row["heading"] for row in rows_of(app)] == ["Mean maps of layer 11 over 2 pictures"]
    second.unlink()
    # Another table, for the page keeps what it has read
    monkeypatch.setenv(OFFERED, str(table.rename(tmp_path / "renamed")))
    app = table_page("renamed", look="means")
    assert "The maps of 4 of 4 pictures cannot be read" in app.info[0].value and not rows_of(app)


def test_a_map_has_the_colours_that_it_has_on_inspect(offered: str) -> None:
    ends = {
        r["high"]
        for row in rows_of(table_page(offered))
        for t in row["tiles"]
        for r in t["drawing"]["readings"].values()
    }
    whole = scale_maps({6: np.zeros((2, 28, 28)), 13: np.zeros((2, 7, 7))}, "uniform")[13].high
    assert whole == 32 and whole in ends and scale_maps({13: np.zeros((2, 7, 7))}, "uniform")[13].high not in ends


def test_the_picture_of_a_scatter_is_chosen_by_its_number_which_an_address_may_name(offered: str) -> None:
    def shown(app: AppTest) -> Any:
        return next(row for row in mounted(app, "tiles") if row["tiles"] and row["tiles"][0]["id"].isdecimal())[
            "tiles"
        ][0]["id"]

    app = table_page(offered, look="scatter", point="4")
    assert shown(app) == "3" and len(charts(app)[0]["data"]) == 2  # its point has a ring
    fine(app.number_input(key="point").set_value(2).run())
    assert shown(app) == "1"
    assert shown(table_page(offered, look="scatter", point="99")) == "0"


def test_a_folder_is_typed_by_visitors_on_this_machine_alone(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ulsam_viz.ui.dataset import opening

    monkeypatch.setattr(opening, "may_open_folders", lambda: False)
    app = page(dataset, source="table", folder=str(out))
    assert not app.text_input and "Bring photographs" in text_of(app)
    monkeypatch.setattr(opening, "may_open_folders", lambda: True)
    app = page(dataset, source="table", folder=str(out))
    assert "6 pictures" in text_of(app)
    fine(app.text_input(key="folder").set_value(str(out.parent / "none")).run())
    assert "is not a folder" in app.error[0].value


def test_a_table_is_given_as_a_file(out: Path) -> None:
    app = page(dataset, source="table")
    fine(app.file_uploader(key="file").upload("mine.parquet", b"no table", "application/octet-stream").run())
    assert "This table cannot be opened" in app.error[0].value
    data = (out / "attention.parquet").read_bytes()
    fine(app.file_uploader(key="file").upload("mine.parquet", data, "application/octet-stream").run())
    assert not app.error and "mine.parquet" in text_of(app) and "6 pictures" in text_of(app)
    assert all(tile["wait"] for row in rows_of(app) for tile in row["tiles"])  # numbers alone
    fine(app.selectbox(key="look").set_value("means").run())
    assert "no maps beside" in app.info[0].value


def bring(app: AppTest, files: list[tuple[str, bytes]], *, turn: int = 0) -> AppTest:
    for name, data in files:
        app.file_uploader(key=f"photographs-{turn}").upload(name, data, "image/png")
    return fine(app.run())


def test_photographs_are_brought_looked_at_and_taken_along_as_a_table() -> None:
    app = page(dataset, source="photographs", position="after 11", g="2")
    assert "Bring photographs" in app.info[0].value
    app = bring(app, [("b.png", a_picture(1)), ("a.png", a_picture(2)), ("note.png", b"no picture")])
    assert "2 photographs are here." in text_of(app) and "note.png: This is not a picture" in text_of(app)
    assert "2 pictures" in text_of(app) and len(rows_of(app)) == 2
    # Another of a name, and one that is here
    app = bring(app, [("a.png", a_picture(3)), ("b.png", a_picture(1))], turn=1)
    assert "3 photographs are here." in text_of(app) and "b.png: it is here already" in text_of(app)
    kept = albums().get(np.ravel(app.query_params["photographs"])[0], "")
    assert kept
    assert kept.names == ["a.png", "b.png", "a.png (2)"] and kept.pixels.shape == (3, 224, 224, 3)
    fine(app.button(key="photographs-forget").click().run())
    assert "Bring photographs" in app.info[0].value


def test_photographs_that_were_not_cut_for_a_network_are_not_shown_as_if_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    albums().put("album-before", _many(2), VISITOR)
    monkeypatch.setattr("ulsam_viz.dataset.made.Photographs.is_cut_for", lambda *_: False)
    app = page(dataset, source="photographs", position="after 11", g="2", photographs="album-before")
    assert "forget them and upload them again" in app.info[0].value and not rows_of(app)


def test_what_lies_beside_the_photographs_of_a_folder_is_no_photograph() -> None:
    app = page(dataset, source="photographs", look="means", position="after 11", g="1")
    app = bring(
        app,
        [
            ("trip/._1.jpg", b"x"),
            ("trip/__MACOSX/1.jpg", b"x"),
            ("trip/1.jfif", a_picture(1)),
            ("trip/2", a_picture(2)),
        ],
    )
    assert "2 photographs are here." in text_of(app) and "This is not a picture" not in text_of(app)
    app = bring(app, [("trip/notes.pdf", b"%PDF-1.7")], turn=1)
    assert "notes.pdf: This is not a picture" in text_of(app)


def test_more_photographs_than_are_taken_are_named() -> None:
    albums().put("album-many", _many(MAX_PICTURES - 1), VISITOR)
    app = page(dataset, source="photographs", look="means", position="after 11", g="1", photographs="album-many")
    app = bring(app, [(f"{i}.png", a_picture(i)) for i in range(9)])
    assert f"{MAX_PICTURES} photographs are here." in text_of(app)
    assert f"{MAX_PICTURES} photographs are here already" in text_of(app) and "and 3 other files" in text_of(app)


def test_what_a_guest_adds_is_a_set_of_its_own() -> None:
    albums().put("album-theirs", _many(3), "somebody else")
    app = page(dataset, source="photographs", look="means", position="after 11", g="1", photographs="album-theirs")
    assert "3 photographs are here." in text_of(app)
    app = bring(app, [("mine.png", a_picture(1))])
    assert "1 photograph is here." in text_of(app) and "somebody else's" in text_of(app)
    assert albums().get("album-theirs", "somebody else")
    fine(app.button(key="photographs-forget").click().run())
    theirs = page(dataset, source="photographs", look="means", position="after 11", g="1", photographs="album-theirs")
    fine(theirs.button(key="photographs-forget").click().run())
    assert albums().get("album-theirs", "somebody else")


def test_a_table_that_was_stopped_says_how_far_it_is_and_goes_on() -> None:
    photographs = _many(6)
    albums().put("album-six", photographs, "")
    query = {
        "source": "photographs",
        "photographs": "album-six",
        "position": "after 11",
        "g": "2",
        "look": "distributions",
    }
    app = AppTest.from_function(dataset, default_timeout=PATIENCE)
    app.query_params.update({"net": "V1-0.5"} | query)
    app.session_state["tables-stopped"] = {(photographs.key, get_variant("mobilenet_v1-0.5-after11-g2").key, "cpu"): 1}
    fine(app.run())
    assert "Stopped after 4 of 6 pictures." in text_of(app) and "4 pictures" in text_of(app)
    # A reload is another session
    again = page(dataset, **query, **{"stopped-0": np.ravel(app.query_params["stopped-0"])[0]})
    assert "Stopped after 4 of 6 pictures." in text_of(again)
    other = page(dataset, **query | {"g": "4"}, **{"stopped-0": np.ravel(app.query_params["stopped-0"])[0]})
    assert "Stopped" not in text_of(other) and "stopped-0" not in other.query_params
    for one in (app, again):
        fine(one.button(key="go-on-0").click().run())
        assert "Stopped" not in text_of(one) and "6 pictures" in text_of(one) and charts(one)
        assert "stopped-0" not in one.query_params


def test_photographs_that_are_gone_are_missed_kindly() -> None:
    app = page(dataset, source="photographs", photographs="album-gone")
    assert "no longer here: bring them again" in text_of(app) and "photographs" not in app.query_params


def _many(count: int) -> Any:
    from ulsam_viz.dataset.made import Photographs

    pixels = np.random.default_rng(0).integers(0, 255, (1, 224, 224, 3), np.uint8).repeat(count, 0)
    return Photographs("Your photographs", [f"many {i}" for i in range(count)], pixels)


def test_the_table_that_is_taken_along_is_that_of_batch(out: Path) -> None:
    columns = {*pq.read_schema(out / "attention.parquet").names} - {"shard", "row"}
    from ulsam_viz.dataset.made import as_parquet, batches, compute, joined
    from ulsam_viz.zoo.variants import load_variant

    variant = get_variant("mobilenet_v1-0.5-after11-g2")
    photographs = _many(2)
    network = load_variant(variant.name)
    _, rows = joined(
        photographs, Look(variant), [compute(network, b, Look(variant)) for b in batches(photographs, variant)]
    )
    assert {*pq.read_schema(io.BytesIO(as_parquet(rows))).names} == columns
