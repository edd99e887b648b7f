"""Which files of a folder are pictures, what their names look like, and CSV files that nothing is run from."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import encode
from ulsam_viz.cli.looks import names_of
from ulsam_viz.images.decoding import FORMATS
from ulsam_viz.images.folders import ENDINGS, Walk, is_picture, not_taken, print_alike, without_symbols
from ulsam_viz.report.contact_sheet import file_name
from ulsam_viz.text.spreadsheets import read_csv, write_csv
from ulsam_viz.ui.choose.picture import plain

ACCENT = "\u0301"  # combining


def closed_folders(monkeypatch: pytest.MonkeyPatch, *closed: Path) -> None:
    """Let nobody list these folders; root may on most machines, whatever their rights are."""
    scandir = os.scandir

    def refusing(path: Any = ".") -> Any:
        if not isinstance(path, int) and Path(os.fsdecode(path)).resolve() in {folder.resolve() for folder in closed}:
            raise PermissionError(13, "Permission denied", os.fsdecode(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refusing)


def test_every_ending_that_the_decoders_know_is_a_pictures() -> None:
    known = {ending for ending, form in Image.registered_extensions().items() if form in (*FORMATS, "MPO")}
    assert known <= {*ENDINGS} and {".jfif", ".jpe", ".mpo", ".avif"} <= {*ENDINGS}


def test_a_picture_without_an_ending_is_found_by_its_content(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 40))
    for name in ("photo", "photo.JFIF", "photo.mpo"):
        (tmp_path / name).write_bytes(encode(picture, "JPEG"))
        assert is_picture(tmp_path / name)
    (tmp_path / "LICENSE").write_text("no picture")
    (tmp_path / "notes.txt").write_bytes(encode(picture, "JPEG"))
    assert (
        not is_picture(tmp_path / "LICENSE")
        and not is_picture(tmp_path / "notes.txt")
        and not is_picture(tmp_path / "gone")
    )


def test_a_walk_leaves_out_what_programs_left_and_names_what_it_could_not_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b/deep/1.jpg", "a/1.jpg", "a/._1.jpg", ".git/x.jpg", "__MACOSX/1.jpg", "locked/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a-link").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "round").symlink_to(tmp_path)
    closed_folders(monkeypatch, tmp_path / "locked")
    walk = Walk(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in walk] == ["a/1.jpg", "b/deep/1.jpg"]
    assert walk.closed == {"locked": "Permission denied"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("की फ़ोटो.jpg", "की फ़ोटो.jpg"),
        (f"e{ACCENT}te{ACCENT}.jpg", f"e{ACCENT}te{ACCENT}.jpg"),
        ("می\u200cخواهم.png", "می\u200cخواهم.png"),
        ("![x](y)<b>*.jpg", "_x_(y)_b_.jpg"),
        ("\u200d\u202e.jpg", "_.jpg"),
    ],
)
def test_names_keep_their_marks_and_lose_what_pages_would_read(name: str, shown: str) -> None:
    assert plain(name) == shown
    assert file_name(name).replace("_", "") == "".join(c for c in shown if c not in "_ ()").lstrip(".")


def test_a_long_name_does_not_begin_with_the_mark_of_a_letter_that_is_gone() -> None:
    assert plain(f"e{ACCENT}" + 59 * "x") == 59 * "x"
    assert without_symbols("a??b", kept="") == "a_b"


def test_names_that_print_alike_or_are_one_file_somewhere_are_told_apart(tmp_path: Path) -> None:
    composed, decomposed = "é", f"e{ACCENT}"
    assert not_taken(decomposed, {composed}, key=print_alike) == f"{decomposed} (2)"
    assert names_of([Path(f"{composed}.jpg"), Path(f"{decomposed}.jpg"), Path(f"{composed.upper()}.png")]) == [
        composed,
        f"{decomposed}-2",
        f"{composed.upper()}-3",
    ]


def test_cells_that_a_spreadsheet_would_run_are_text_and_come_back_as_they_were() -> None:
    texts = ["=1+1", "+x", "-x", "@x", "\tx", "\rx", "＝1", "'=1", "''-x", "'x", "plain", "a,b"]
    texts += ['q"', "-5", "-1.5e-05", "nan"]
    file = io.StringIO(newline="")
    write_csv(file, ("name", "number"), ((text, -2.5) for text in texts))
    written = file.getvalue()
    file.seek(0)
    rows = list(read_csv(file))
    assert [row["name"] for row in rows] == texts and {row["number"] for row in rows} == {"-2.5"}
    cells = [line.lstrip('"') for line in written.replace("\r\n", "\n").split("\n")]
    assert not any(cell.startswith(("=", "+", "@", "\t", "＝")) for cell in cells)
    assert [cell for cell in cells if cell.startswith("-")] == ["-5,-2.5", "-1.5e-05,-2.5"]  # numbers stay numbers
