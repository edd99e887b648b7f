"""`inspect` and `compare`: the page's numbers, and what goes wrong said."""

from __future__ import annotations

import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ulsam_viz import explain
from ulsam_viz.analysis import measures
from ulsam_viz.analysis.attribution import AttributionWarning
from ulsam_viz.analysis.computations import AttributionError
from ulsam_viz.batch.pictures import read_crops
from ulsam_viz.batch.rows import Look, PictureRows
from ulsam_viz.cli.looks import names_of
from ulsam_viz.cli.program import main
from ulsam_viz.explanation import class_number
from ulsam_viz.images.preprocessing import decode_image
from ulsam_viz.images.samples import ASSETS, list_samples
from ulsam_viz.paths import program
from ulsam_viz.report.record import address_to, command_of
from ulsam_viz.text.terminal import spelled
from ulsam_viz.ui.choose.network import usual_position
from ulsam_viz.zoo.variants import CHECKPOINTS, get_variant, list_variants, usual_variant

NAME = "mobilenet_v1-0.5-after11-g4"
ROOT = Path(__file__).parent.parent
COFFEE, CAT = (s.path for s in list_samples()[:2])


def test_the_usual_network_is_the_one_that_the_app_opens_on() -> None:
    variant = usual_variant()
    assert variant.name == "efficientnet_lite0-after12-g4"
    assert (
        f"after-{variant.placement.layers[0] if variant.placement else ''}" == usual_position(variant)
        and variant.groups == 4
    )


def test_inspect_prints_and_saves_what_explain_computes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["inspect", str(COFFEE), str(CAT), "--variant", NAME, "--methods", "grad_cam", "saliency"]
    command += ["--save", str(tmp_path)]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["variant"] == NAME and not printed["skipped"]
    for record, path in zip(printed["pictures"], (COFFEE, CAT), strict=True):
        seen = explain(decode_image(path.read_bytes()), NAME, ("grad_cam", "saliency"))
        assert record["target"] == record["answers"][0]["class"] == seen.classes[seen.target]
        assert record["answers"][0]["probability"] == pytest.approx(float(seen.probabilities.max()), abs=1e-5)
        assert [s["subspace"] for s in record["subspaces"]] == [1, 2, 3, 4]
        assert [s["peak"] for s in record["subspaces"]] == pytest.approx(
            measures.peak(seen.attention[11]).tolist(), rel=1e-4
        )
        assert set(record["subspaces"][0]["agreement"]) == {"grad_cam", "saliency"}
        with np.load(tmp_path / path.stem / "numbers.npz") as archive:
            assert archive["attention_11"] == pytest.approx(seen.attention[11])
    assert main(["inspect", str(COFFEE), "--variant", NAME]) == 0
    assert f"{COFFEE}: " in (text := capsys.readouterr().out) and text.count("subspace") == 4


def test_how_a_picture_is_shown_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    frames[0].save(film := tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    note = "The first frame of the animation is shown."
    assert main(["inspect", str(film), "--variant", NAME]) == 0 and note in capsys.readouterr().out
    assert main(["inspect", str(film), "--variant", NAME, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"][0]["notes"] == [note]


def test_a_sum_that_is_off_is_said_wherever_the_map_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One step cannot integrate; 7 is none of the page's menu."""
    settings = {"integrated_gradients": {"steps": 1}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AttributionWarning)
        seen = explain(
            decode_image(COFFEE.read_bytes()), NAME, ("integrated_gradients", "deep_lift"), settings=settings
        )
    off = seen.details["integrated_gradients"].off
    (said,) = (str(one.message) for one in caught if one.category is AttributionWarning)
    assert (
        re.search(r"miss it by \d+%", said) and off is not None and off > 0.05 and not seen.details["deep_lift"].warning
    )
    command = ["inspect", str(COFFEE), "--variant", NAME, "--methods", "integrated_gradients", "--set"]
    with warnings.catch_warnings():
        assert main([*command, "integrated_gradients.steps=1", "--json", "--report", str(tmp_path / "x.html")]) == 0
        (warning,) = json.loads(capsys.readouterr().out)["pictures"][0]["warnings"]
        assert warning == seen.details["integrated_gradients"].warning == said
        written = (tmp_path / "x.html").read_text(encoding="utf-8")
        assert html.escape(warning) in written and f"sum off by {off:.0%}" in written
        assert main([*command, "integrated_gradients.steps=1"]) == 0
        assert f"warning: {warning}" in (printed := capsys.readouterr()).out and not printed.err
        assert main([*command, "integrated_gradients.steps=7"]) == 0


def test_a_bad_picture_is_named_and_the_others_are_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    wrong = [str(tmp_path / "bad.jpg"), str(tmp_path / "nowhere.jpg")]
    assert main(["inspect", wrong[0], str(COFFEE), wrong[1], "--variant", NAME, "--json"]) == 2
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert [p["picture"] for p in printed["pictures"]] == [str(COFFEE)]
    assert [one["picture"] for one in printed["skipped"]] == wrong and "cannot be read" in printed["skipped"][1][
        "reason"
    ]
    assert all(name in captured.err for name in wrong)
    for arguments, reason in (
        (["inspect", str(COFFEE), "--variant", "none"], "no trained variant"),
        (["inspect", str(COFFEE), "--variant", NAME, "--methods", "none"], "none"),
        (["inspect", str(COFFEE), "--variant", NAME, "--target", "no such class"], "no such class"),
        (["inspect", str(COFFEE), "--variant", NAME, "--target", "²"], "knows no class '²'"),
        (["inspect", str(COFFEE), "--variant", NAME, "--target", "Leopard"], "do you mean Leopards"),
        (
            ["inspect", str(COFFEE), "--variant", "mobilenet_v1-0.5-after11-g5"],
            "do you mean mobilenet_v1-0.5-after11-g",
        ),
        (["compare", wrong[1]], "cannot be read"),
    ):
        assert main(arguments) == 2
        assert reason in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_and_a_huge_file_are_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2**40)  # it could not be held
    for name, reason in (("pipe.jpg", "no ordinary file"), ("huge.jpg", "at most")):
        for command in (["inspect"], ["compare"]):
            assert main([*command, str(tmp_path / name), "--variant", NAME]) == 2
            assert reason in capsys.readouterr().err


def test_a_class_is_named_as_people_write_it(capsys: pytest.CaptureFixture[str]) -> None:
    for target in ("stop_sign", "Stop Sign"):
        assert main(["inspect", str(COFFEE), "--variant", NAME, "--target", target, "--methods", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["pictures"][0]["target"] == "stop_sign"
    twins = replace(get_variant(NAME), classes=("crane", "Crane", "Cup"))
    assert [class_number(name, twins) for name in ("Crane", "crane", "cup")] == [1, 0, 2]
    with pytest.raises(AttributionError, match="Crane or crane"):
        class_number("CRANE", twins)


def test_a_report_that_cannot_be_written_is_named_as_it_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.html"
    assert main(["inspect", str(COFFEE), "--variant", NAME, "--methods", "--report", str(path)]) == 2
    assert (said := capsys.readouterr().err) and str(path) in said and "partial" not in said


def test_what_is_printed_beside_a_bar_has_lines_of_its_own() -> None:
    command = [sys.executable, "-m", "ulsam_viz", "inspect", str(COFFEE), str(CAT), "--variant", NAME, "--methods"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, check=True)
    lines = done.stdout.replace("\r", "\n").splitlines()
    for path in (COFFEE, CAT):
        assert [line for line in lines if str(path) in line and line.startswith(str(path))]


def test_what_is_asked_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["inspect", str(COFFEE), "--variant", NAME, "--methods", "--ask", "shapley", "through"]
    assert main([*command, "--json"]) == 0
    asked = json.loads(capsys.readouterr().out)["pictures"][0]["asked"]
    assert [one["question"] for one in asked] == ["Shapley share", "Contribution through it"]
    seen = explain(decode_image(COFFEE.read_bytes()), NAME, ())
    (shares,) = seen.ask("shapley").values()
    assert [row["Shapley value"] for row in asked[0]["tables"][0]["rows"]] == pytest.approx(
        shares.values.tolist(), abs=1e-6
    )
    assert main(command) == 0
    assert "Shapley share (layer 11" in (text := capsys.readouterr().out) and "They sum to" in text
    with pytest.raises(ValueError, match="no question 'what'"):
        seen.ask("what")


def test_inspect_finds_what_batch_finds(capsys: pytest.CaptureFixture[str]) -> None:
    names, variant = ["coffee.jpg", "empty.png"], get_variant(NAME)  # one of the latter's maps is dead
    rows = PictureRows(Look(variant))(read_crops(str(ASSETS), names, variant.preprocessing)).subspaces
    command = ["inspect", *(str(ASSETS / name) for name in names), "--variant", NAME, "--ask", "ablation", "--json"]
    assert main(command) == 0
    ours = [row for picture in json.loads(capsys.readouterr().out)["pictures"] for row in picture["subspaces"]]
    assert 0 < sum(row["dead"] for row in ours) < len(ours) == 8
    same = {"area", "peak", "entropy", "dead", "redundancy", "removed_logit", "removed_probability", "removed_flips"}
    for theirs, key in {"peak_row": "row", "peak_column": "column", **dict.fromkeys(same)}.items():
        own = [np.nan if row[key or theirs] is None else row[key or theirs] for row in ours]
        assert own == pytest.approx(rows[theirs].astype(float).tolist(), abs=2e-5, nan_ok=True), theirs
    agreements = [np.nan if row["agreement"]["grad_cam"] is None else row["agreement"]["grad_cam"] for row in ours]
    assert agreements == pytest.approx(rows["agreement_grad_cam"].tolist(), abs=2e-5, nan_ok=True)


COMMANDS = ("app", "inspect", "compare", "variants", "train", "evaluate", "add", "remove", "calibrate", "batch")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_call_the_program_as_it_was_called(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for called, name in (("/usr/bin/ulsam-viz", "ulsam-viz"), ("/here/ulsam_viz/__main__.py", "python -m ulsam_viz")):
        monkeypatch.setattr(sys, "argv", [called])
        with pytest.raises(SystemExit):
            main([command, "--help"])
        _, _, examples = capsys.readouterr().out.partition("examples:\n")
        lines = [line for line in examples.splitlines() if line.startswith("  ")]
        assert lines and all(line.startswith(f"  {name} {command}") for line in lines)


def test_what_pages_and_reports_print_calls_the_program_that_is_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["app.py"])  # as Streamlit leaves it
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    variant = get_variant("mobilenet_v1-0.5-after11-g4")
    assert program() == "python -m ulsam_viz"
    assert command_of("a.jpg", variant, {}, 0).startswith("python -m ulsam_viz inspect a.jpg ")
    (tmp_path / "ulsam-viz").touch(0o755)
    assert program() == "ulsam-viz"
    assert command_of("a.jpg", variant, {}, 0).startswith("ulsam-viz inspect a.jpg ")
    assert "“ulsam-viz app”" in address_to(variant, {}, "", None)[1]


def test_exit_codes_are_those_that_help_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = {int(code) for code in re.findall(r"^  (\d+) ", capsys.readouterr().out, re.M)}

    def fail(error: BaseException) -> int:
        def run(_: object) -> None:
            raise error

        monkeypatch.setattr("ulsam_viz.cli.program._variants", run)
        return main(["variants"])

    assert main(["variants"]) == 0
    assert {fail(error) for error in (ValueError("x"), KeyError("x"), OSError("x"), BrokenPipeError("another's"))} == {
        2
    }
    assert fail(KeyboardInterrupt()) == 130
    with pytest.raises(RuntimeError):  # Python ends with 1
        fail(RuntimeError("x"))
    assert told == {0, 1, 2, 130, 141}


def test_a_reader_that_stops_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        command = [sys.executable, "-m", "ulsam_viz", "variants"]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_wrong_option_shows_how_its_command_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["compare", "x.jpg", "--nothing"], ["inspect", "x.jpg", "--ask", "nothing"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert f"ulsam_viz {arguments[0]} [-h]" in (said := capsys.readouterr().err) and "nothing" in said


def test_variants_and_evaluations_are_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["variants", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert list(listed) == [v.name for v in list_variants()]
    variant = get_variant(NAME)
    assert listed[NAME]["sha256"] == variant.sha256 and listed[NAME]["top1"] == variant.metrics["top1"]
    assert variant.metrics["top1"] in listed[NAME]["top1_by_seed"].values()
    assert main(["evaluate", "--variant", NAME, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["manifest"]["top1"] == variant.metrics["samples"]["top1"] == told["measured"]["top1"]


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
        (["--variant", "mobilenet_v1-0.5-plain", "--ask", "shapley"], "no ULSAM module"),
        (["--variant", "mobilenet_v1-0.5-after11-cbam", "--ask", "shapley"], "no ULSAM module"),
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


def test_compare_always_has_a_row_for_the_network_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    def compared(*options: str) -> tuple[list[dict[str, Any]], str]:
        assert main(["compare", str(COFFEE), "--json", *options]) == 0
        captured = capsys.readouterr()
        return json.loads(captured.out)["networks"], captured.err

    cbam = "mobilenet_v1-0.5-after11-cbam"
    for over in ("groups", "modules"):
        rows, said = compared("--variant", cbam, "--over", over)
        (own,) = (row for row in rows if row["network"] == cbam)
        assert "CBAM" in own["position"] and not said
        assert {"mobilenet_v1-0.5-after11-g1" if over == "groups" else "mobilenet_v1-0.5-after11-g4"} < {
            r["network"] for r in rows
        }
    plain = "efficientnet_lite0-plain"
    rows, said = compared("--variant", plain, "--over", "positions")
    assert [row["network"] for row in rows] == [plain]
    assert said == f"ulsam_viz: nothing compares with {plain} over positions\n"


def test_what_compares_between_modules_is_what_the_page_compares(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.test_pages import compare, page

    sample = next(s for s in list_samples() if s.path == COFFEE)
    shown = page(compare, picture=sample.title, net="V1-0.5", g="4", way="modules").dataframe[0].value
    assert main(["compare", str(COFFEE), "--variant", NAME, "--over", "modules", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["networks"]
    assert [row["gain"][0] for row in rows] == pytest.approx(shown["smallest"].tolist(), abs=1e-4)
    assert [row["gain"][1] for row in rows] == pytest.approx(shown["largest"].tolist(), abs=1e-4)


def test_compare_says_what_the_page_compare_says(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.test_pages import compare, page
    from ulsam_viz.images.samples import list_samples

    sample = next(s for s in list_samples() if s.path == COFFEE)
    shown = page(compare, picture=sample.title, position="after 11", g="4").dataframe[0].value
    assert main(["compare", str(COFFEE), "--variant", NAME, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["networks"]
    assert [row["answer"].replace("_", " ") for row in rows] == shown["says"].tolist()
    assert [100 * row["probability"] for row in rows] == pytest.approx(shown["probability"].tolist(), abs=1e-3)


def test_a_server_offers_the_tables_that_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ulsam_viz.ui.dataset.opening import OFFERED

    monkeypatch.setattr("streamlit.web.cli.main", lambda *_, **__: None)
    monkeypatch.setenv(OFFERED, "")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert main(["app", "--table", str(tmp_path / "a"), "--table", str(tmp_path / "b")]) == 0
    assert os.environ[OFFERED].split(os.pathsep) == [str(tmp_path / "a"), str(tmp_path / "b")]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--port", "99999"], "from 1 to 65535"),
        (["--port", "0"], "from 1 to 65535"),
        (["--table", "nothere"], "'nothere' is not a folder"),
    ],
)
def test_a_server_that_cannot_be_is_not_started(
    arguments: list[str], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("streamlit.web.cli.main", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(SystemExit):
        main(["app", *arguments])
    assert reason in capsys.readouterr().err


def test_a_server_is_started_as_its_switch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from ulsam_viz.ui.run.uploaded_networks import SWITCH
    from ulsam_viz.zoo.checkpoint_files import MAX_BYTES

    started: list[list[str]] = []
    monkeypatch.setattr("streamlit.web.cli.main", lambda arguments, **_: started.append(arguments))
    monkeypatch.delenv(SWITCH, raising=False)
    large = f"--server.maxUploadSize={MAX_BYTES // 10**6}"
    for flag, switch, larger in (
        ([], None, True),
        (["--own-networks"], "1", True),
        (["--no-own-networks"], "0", False),
    ):
        monkeypatch.delenv(SWITCH, raising=False)
        assert main(["app", *flag, "--server.headless=true"]) == 0
        assert (
            os.environ.get(SWITCH) == switch
            and (large in started[-1]) == larger
            and "--server.headless=true" in started[-1]
        )
    monkeypatch.setenv(SWITCH, "0")  # as a container says it: its limit for uploads is the pictures'
    assert main(["app"]) == 0 and large not in started[-1]
    os.environ.pop(SWITCH, None)


ENCODINGS = ("latin-1", "cp1252", "ascii", "utf-8")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_command_dies_of_what_the_terminal_cannot_write(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Help, tables, answers, errors and progress; bytes that are no text in a file's name, too."""
    picture = tmp_path / "naïve 中 ρ “x”.jpg"
    picture.write_bytes(CAT.read_bytes())
    missing = os.fsdecode(os.fsencode(tmp_path) + b"/bytes-\xff.jpg")
    commands: list[tuple[list[str], int]] = [
        ([*command, "--help"], 0) for command in ([], ["inspect"], ["train"], ["batch"], ["add"])
    ]
    commands += [(["variants"], 0), (["compare", str(picture), "--variant", NAME], 0), (["inspect", "--nonsense→"], 2)]
    commands += [(["inspect", str(picture), missing, "--variant", NAME, "--ask", "ablation"], 2)]
    commands += [(["inspect", str(picture), missing, "--variant", NAME, "--json"], 2)]
    for command, code in commands:
        streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
        for name, stream in streams.items():
            monkeypatch.setattr(sys, name, stream)
        try:
            done = main(command)
        except SystemExit as ended:  # argparse
            done = int(ended.code or 0)
        finally:
            written = {}
            for name, stream in streams.items():
                stream.flush()
                written[name] = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
            monkeypatch.undo()
        assert done == code, written["stderr"]
        if command[0] == "inspect" and str(picture) in command:
            assert ("naïve" if encoding != "ascii" else "naive") in written["stdout"] + written[
                "stderr"
            ] or "--json" in command
            assert "bytes-\\xff.jpg" in written["stderr"]
        if command[-1] == "--json":
            assert json.loads(written["stdout"])["pictures"][0]["picture"] == str(picture)


def test_what_cannot_be_written_is_spelled() -> None:
    assert "".join(map(spelled, "ρ Δ × é ß → “x” ½ 中 ±")) == 'rho Delta x e ss -> "x" 12 \\u4e2d +/-'


def test_commands_default_to_a_network_that_is_there(tmp_path: Path) -> None:
    """With a zoo of one's own that has neither the shipped default nor its backbone."""
    manifest = json.loads((CHECKPOINTS / "manifest.json").read_text(encoding="utf-8"))
    kept = [
        v for v in manifest["variants"] if v["name"] in (NAME, "mobilenet_v1-0.5-plain", "mobilenet_v1-0.5-after12-g4")
    ]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"variants": kept}))
    for record in kept:
        shutil.copy(CHECKPOINTS / record["file"], tmp_path)
    env = os.environ | {"ULSAM_VIZ_CHECKPOINTS": str(tmp_path)}
    for command in ("inspect", "compare"):
        arguments = [sys.executable, "-m", "ulsam_viz", command, str(COFFEE), "--json"]
        done = subprocess.run(arguments, cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert NAME in done.stdout
