"""`inspect` and `compare`: the page's numbers, and what goes wrong said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ulsam_viz import explain
from ulsam_viz.analysis import measures
from ulsam_viz.cli import main
from ulsam_viz.commands import USUAL, names_of
from ulsam_viz.images import decode_image
from ulsam_viz.samples import list_samples
from ulsam_viz.ui.choose.network import usual_position
from ulsam_viz.zoo import get_variant

NAME = "mobilenet_v1-0.5-after11-g4"
COFFEE, CAT = (s.path for s in list_samples()[:2])


def test_the_usual_network_is_the_one_that_the_app_opens_on() -> None:
    variant = get_variant(USUAL)
    assert f"after-{variant.placement.layers[0] if variant.placement else ''}" == usual_position(variant) and variant.groups == 4


def test_inspect_prints_and_saves_what_explain_computes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["inspect", str(COFFEE), str(CAT), "--variant", NAME, "--methods", "grad_cam", "saliency", "--save", str(tmp_path)]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["variant"] == NAME and not printed["skipped"]
    for record, path in zip(printed["pictures"], (COFFEE, CAT), strict=True):
        seen = explain(decode_image(path.read_bytes()), NAME, ("grad_cam", "saliency"))
        assert record["target"] == record["answers"][0]["class"] == seen.classes[seen.target]
        assert record["answers"][0]["probability"] == pytest.approx(float(seen.probabilities.max()), abs=1e-5)
        assert [s["subspace"] for s in record["subspaces"]] == [1, 2, 3, 4]
        assert [s["peak"] for s in record["subspaces"]] == pytest.approx(measures.peak(seen.attention[11]).tolist(), rel=1e-4)
        assert set(record["subspaces"][0]["agreement"]) == {"grad_cam", "saliency"}
        with np.load(tmp_path / path.stem / "numbers.npz") as archive:
            assert archive["attention_11"] == pytest.approx(seen.attention[11])
    assert main(["inspect", str(COFFEE), "--variant", NAME]) == 0
    assert f"{COFFEE}: " in (text := capsys.readouterr().out) and text.count("subspace") == 4


def test_a_bad_picture_is_named_and_the_others_are_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    wrong = [str(tmp_path / "bad.jpg"), str(tmp_path / "nowhere.jpg")]
    assert main(["inspect", wrong[0], str(COFFEE), wrong[1], "--variant", NAME, "--json"]) == 2
    captured = capsys.readouterr()
    assert [p["picture"] for p in json.loads(captured.out)["pictures"]] == [str(COFFEE)]
    assert all(name in captured.err for name in wrong)
    for arguments, reason in (
        (["inspect", str(COFFEE), "--variant", "none"], "no trained variant"),
        (["inspect", str(COFFEE), "--variant", NAME, "--methods", "none"], "none"),
        (["inspect", str(COFFEE), "--variant", NAME, "--target", "no such class"], "no such class"),
        (["compare", wrong[1]], "cannot be read"),
    ):
        assert main(arguments) == 2
        assert reason in capsys.readouterr().err


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [tmp_path / "a" / "x.png", tmp_path / "b" / "X.jpg", tmp_path / "x-2.png", tmp_path / "...png"]
    assert names_of(pictures) == ["x", "X-2", "x-2-2", "picture"]
    for path, source in zip(pictures[:2], (COFFEE, CAT), strict=True):
        path.parent.mkdir()
        path.write_bytes(source.read_bytes())
    command = ["inspect", *map(str, pictures[:2]), "--variant", NAME, "--json"]
    assert main([*command, "--save", str(tmp_path / "out"), "--report", str(tmp_path / "reports")]) == 0
    printed = json.loads(capsys.readouterr().out)["pictures"]
    assert [Path(p["report"]).name for p in printed] == ["x.html", "X-2.html"]
    for record, folder in zip(printed, ("x", "X-2"), strict=True):
        settings = json.loads((tmp_path / "out" / folder / "settings.json").read_text())
        assert settings["target"].replace("_", " ") == record["target"].replace("_", " ")
    assert main([*command, "--report", str(tmp_path / "one.zip")]) == 2
    assert "name a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--report", "x.pdf"], "prints to PDF"),
        (["--set", "saliency.steps=3"], "of one of the methods (grad_cam)"),
        (["--set", "grad_cam.nothing=3"], "has no setting 'nothing'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_computed(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "nowhere.jpg", "--variant", NAME, *arguments]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(("over", "count"), [("groups", 6), ("positions", 9)])
def test_compare_prints_a_row_for_each_network(over: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(COFFEE), "--variant", NAME, "--over", over, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["networks"]
    assert len(rows) == count and rows[0]["position"].startswith("none")
    groups = [row["g"] for row in rows[1:]]
    assert groups == ([1, 2, 4, 8, 16] if over == "groups" else [4] * (count - 1))
    assert main(["compare", str(COFFEE), "--variant", NAME, "--over", over]) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == count + 1


def test_compare_says_what_the_page_compare_says(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.test_pages import compare, page
    from ulsam_viz.samples import list_samples

    sample = next(s for s in list_samples() if s.path == COFFEE)
    shown = page(compare, picture=sample.title, position="after 11", g="4").dataframe[0].value
    assert main(["compare", str(COFFEE), "--variant", NAME, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["networks"]
    assert [row["answer"].replace("_", " ") for row in rows] == shown["says"].tolist()
    assert [100 * row["probability"] for row in rows] == pytest.approx(shown["probability"].tolist(), abs=1e-3)


def test_a_server_offers_the_tables_that_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    from ulsam_viz.ui.dataset.opening import OFFERED

    monkeypatch.setattr("streamlit.web.cli.main", lambda *_, **__: None)
    monkeypatch.setenv(OFFERED, "")
    assert main(["app", "--table", str(tmp_path / "a"), "--table", str(tmp_path / "b")]) == 0
    assert os.environ[OFFERED].split(os.pathsep) == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_a_server_is_started_as_its_switch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from ulsam_viz.files import MAX_BYTES
    from ulsam_viz.ui.run.brought import SWITCH

    started: list[list[str]] = []
    monkeypatch.setattr("streamlit.web.cli.main", lambda arguments, **_: started.append(arguments))
    monkeypatch.delenv(SWITCH, raising=False)
    large = f"--server.maxUploadSize={MAX_BYTES // 2**20}"
    import os

    for flag, switch, larger in (([], None, True), (["--own-networks"], "1", True), (["--no-own-networks"], "0", False)):
        monkeypatch.delenv(SWITCH, raising=False)
        assert main(["app", *flag, "--server.headless=true"]) == 0
        assert os.environ.get(SWITCH) == switch and (large in started[-1]) == larger and "--server.headless=true" in started[-1]
    monkeypatch.setenv(SWITCH, "0")  # as a container says it: its limit for uploads is the pictures'
    assert main(["app"]) == 0 and large not in started[-1]
    os.environ.pop(SWITCH, None)
