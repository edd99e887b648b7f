"""Tables of many pictures: opened with every check, and made in memory like those of batch."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from streamlit.proto.Common_pb2 import FileURLs
from streamlit.runtime.uploaded_file_manager import UploadedFile, UploadedFileRec

from tests.tables import samples_in_folders
from ulsam_viz.batch import local
from ulsam_viz.batch.pictures import read_crops
from ulsam_viz.batch.rows import Look
from ulsam_viz.dataset.made import BATCH, Photographs, as_parquet, batches, compute, cuts_of, joined
from ulsam_viz.dataset.measures import measure_of
from ulsam_viz.dataset.opened import FolderLooks, open_file, open_folder
from ulsam_viz.dataset.table import Table, TableError
from ulsam_viz.dataset.views import mean_maps
from ulsam_viz.images.preprocessing import ModelInput, Preprocessing, crop_centre, decode_image
from ulsam_viz.images.samples import ASSETS, list_samples
from ulsam_viz.ui.dataset.looks import small_crop
from ulsam_viz.ui.dataset.opened import _framed
from ulsam_viz.ui.dataset.photographs import _Album
from ulsam_viz.zoo.variants import get_variant, load_variant

VARIANT = "mobilenet_v1-0.5-after11-g4"
TWO_LAYERS = "mobilenet_v1-0.5-after6_8_11_13-g2"
_SAMPLES = 7  # not a multiple of a batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples in two folders, as classes would be, and a file that is no picture."""
    root = samples_in_folders(tmp_path_factory.mktemp("pictures"), _SAMPLES)
    (root / "a" / "note.jpg").write_text("no picture")
    return root


@pytest.fixture(scope="module")
def out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "out"
    local.run(str(folder), path, Look(get_variant(TWO_LAYERS)), workers=0, quiet=True)
    return path


@pytest.fixture(scope="module")
def table(out: Path) -> Table:
    return open_folder(out)


def test_an_opened_table_holds_what_the_file_says(table: Table, out: Path) -> None:
    rows = pq.read_table(out / "attention.parquet").to_pylist()
    assert len(table.pictures) == _SAMPLES and table.variant == TWO_LAYERS and table.layers == [6, 8, 11, 13]
    assert {*table.folders} == {"a", "b"}
    for row in rows:
        n = table.pictures.index(row["picture"])
        assert table.answers[n] == row["answer"] and table.probability[n] == pytest.approx(row["probability"])
        for measure in table.measures:
            found = table.values[row["layer"]][measure.name][n, row["subspace"]]
            assert np.isnan(found) if row[measure.name] is None else found == pytest.approx(float(row[measure.name]))
    percent = measure_of("area")
    assert percent and table.of(percent, 11) == pytest.approx(100 * table.values[11]["area"])


def test_its_pictures_are_what_the_network_saw_and_its_maps_what_it_made(table: Table, folder: Path) -> None:
    variant = get_variant(TWO_LAYERS)
    assert table.looks
    for n, name in enumerate(table.pictures):
        crop = crop_centre(decode_image((folder / name).read_bytes()), variant.preprocessing)
        assert np.array_equal(table.looks.crop(n), crop.pixels)  # type: ignore[arg-type]
        for layer in table.layers:
            maps = table.looks.maps(n, layer)
            assert maps is not None and maps.sum((1, 2)) == pytest.approx(1, abs=1e-2)
            assert maps.max((1, 2)) * maps[0].size == pytest.approx(table.values[layer]["peak"][n], rel=2e-3)
    for layer in table.layers:
        together = np.concatenate([*table.looks.all_maps(layer)])
        for n in range(len(table.pictures)):
            assert np.array_equal(table.looks.maps(n, layer), together[n].astype(np.float32))  # type: ignore[arg-type]


def test_pictures_that_are_gone_or_lie_elsewhere_are_not_shown(table: Table, tmp_path: Path) -> None:
    assert isinstance(table.looks, FolderLooks)
    (tmp_path / "secret.png").write_bytes(list_samples()[0].path.read_bytes())
    gone = replace(table.looks, root=str(tmp_path / "none"))
    outside = replace(gone, root=str(tmp_path / "sub"), names=["../secret.png", str(tmp_path / "secret.png")])
    (tmp_path / "sub").mkdir()
    assert gone.crop(0) is None and outside.crop(0) is None and outside.crop(1) is None
    assert replace(gone, shards=["../secret"] * _SAMPLES).maps(0, 11) is None
    assert replace(gone, maps_folder=tmp_path).maps(0, 11) is None and not list(
        replace(gone, maps_folder=tmp_path).all_maps(11)
    )


def test_a_damaged_shard_has_no_maps_or_others_and_stops_nothing(table: Table, tmp_path: Path) -> None:
    assert isinstance(table.looks, FolderLooks)
    here = replace(table.looks, maps_folder=tmp_path)
    for shard in {*here.shards}:
        whole = (table.looks.maps_folder / f"{shard}.npz").read_bytes()
        generator = np.random.default_rng(3)
        # Where the headers are of the first member, of the last one, and of the archive.
        starts = [0, whole.rindex(b"PK\x01\x02"), len(whole) - 22]
        for damage in range(300):
            data = bytearray(whole)
            for place in generator.choice(starts) + generator.integers(0, 160, 2):
                data[min(place, len(data) - 1)] = generator.integers(256)
            (tmp_path / f"{shard}.npz").write_bytes(data if damage % 5 else data[: generator.integers(len(data))])
            for maps in (here.maps(0, 11), *here.all_maps(11)):
                assert maps is None or maps.dtype.kind == "f"


def test_a_table_made_in_memory_equals_that_of_batch(table: Table, folder: Path, out: Path) -> None:
    variant = get_variant(TWO_LAYERS)
    pixels = np.stack(
        [crop_centre(decode_image((folder / n).read_bytes()), variant.preprocessing).pixels for n in table.pictures]
    )
    photographs = Photographs("mine", table.pictures, pixels)
    parts = batches(photographs, variant)
    assert [len(p.names) for p in parts] == [BATCH, _SAMPLES - BATCH]
    network = load_variant(TWO_LAYERS)
    found = [compute(network, p, Look(variant)) for p in parts]
    made, rows = joined(photographs, Look(variant), found)
    assert made.pictures == table.pictures and made.answers == table.answers and made.folders == table.folders
    for layer in table.layers:
        for measure in table.measures:
            ours, theirs = made.values[layer][measure.name], table.values[layer][measure.name]
            assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4, nan_ok=True), measure.name
    read = open_file(as_parquet(rows), "mine.parquet")
    assert read.looks is None and read.answers == made.answers and read.layers == made.layers
    assert read.variant == made.variant == open_file((out / "attention.parquet").read_bytes(), "theirs").variant
    assert made.looks and np.array_equal(made.looks.crop(2), pixels[2])  # type: ignore[arg-type]
    del photographs  # to make room for others'
    assert made.looks.crop(2) is None and not made.looks.are_here and small_crop(made, 2) is None


def _uploaded(name: str, data: bytes) -> UploadedFile:
    return UploadedFile(UploadedFileRec(name, name, "image/jpeg", data), FileURLs())


def test_photographs_are_cut_from_their_files_for_every_network_as_batch_cuts_them(tmp_path: Path) -> None:
    """Whatever size, crop and interpolation a network wants; the normalisation is no cut of its own."""
    shipped = get_variant(VARIANT)
    wishes: list[dict[str, Any]] = [
        {"input_size": 96},
        {"crop": 0.875},
        {"interpolation": "bilinear"},
        {"mean": (0.5, 0.5, 0.5)},
        {"input_size": 256},
    ]
    networks = [shipped, *(replace(shipped, preprocessing=replace(shipped.preprocessing, **wish)) for wish in wishes)]
    cuts = cuts_of(networks)
    assert len(cuts) == 5 and cuts[0] == Preprocessing()
    album, files = _Album(None, cuts), ["alps.jpg", "chelsea.jpg"]
    for name in files:
        (tmp_path / name).write_bytes((ASSETS / name).read_bytes())
        assert not album.add(_uploaded(name, (ASSETS / name).read_bytes()))
    kept = album.photographs()
    for network in networks:
        preprocessing = network.preprocessing
        assert kept.is_cut_for(preprocessing)
        assert np.array_equal(kept.crops(preprocessing), read_crops(str(tmp_path), files, preprocessing).pixels), (
            preprocessing
        )
        seen = crop_centre(_framed(kept.crops(preprocessing)[0], preprocessing), preprocessing).pixels
        assert np.array_equal(seen, kept.crops(preprocessing)[0])  # on Inspect, too
    assert kept.size > kept.pixels.nbytes
    assert not kept.is_cut_for(replace(shipped.preprocessing, input_size=64))
    assert not _Album(kept, cuts_of([replace(shipped, preprocessing=Preprocessing(64))])).photographs().others


def test_two_photographs_whose_names_print_alike_are_both_kept() -> None:
    album = _Album(None, cuts_of([]))
    data = (ASSETS / "chelsea.jpg").read_bytes()
    names = ["\u00e9.jpg", "e\u0301.jpg", "a?.jpg", "a*.jpg", "x/a/1.jpg", "y/a/1.jpg", "\u00e9.jpg"]
    said = [album.add(_uploaded(name, data)) for name in names]
    assert said == [""] * 6 + ["it is here already"]
    assert album.names == ["\u00e9.jpg", "e\u0301.jpg (2)", "a_.jpg", "a_.jpg (2)", "a/1.jpg", "a/1.jpg (2)"]


def _rows(**columns: Any) -> pa.Table:
    """Return two pictures with two subspaces, changed."""
    base: dict[str, Any] = {
        "picture": ["a", "a", "b", "b"],
        "layer": [11] * 4,
        "subspace": [0, 1] * 2,
        "area": [0.5] * 4,
        "peak": [2.0] * 4,
    }
    return pa.table({name: values for name, values in (base | columns).items() if values is not None})


def _file(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"peak": None}, "no column 'peak'"),
        ({"picture": ["a", "a", "a", "b"]}, "different numbers of rows"),
        ({"picture": ["a", "a", None, "b"]}, "different numbers of rows"),
        ({"picture": [1, 1, 2, 2]}, "holds no text"),
        ({"subspace": [0, 1, 1, 0]}, "same layers and subspaces"),
        ({"subspace": [0, 0, 0, 0]}, "twice"),
        ({"subspace": [0, 2, 0, 2]}, "lacks one"),
        ({"layer": ["x"] * 4}, "holds no numbers"),
        ({"area": [[1.0]] * 4}, "neither numbers nor text"),
        ({"picture": ["x" * 2000] * 2 + ["b"] * 2}, "text of 2,000 bytes"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(TableError, match=said):
        open_file(_file(_rows(**columns)), "x.parquet")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet at all", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_what_is_no_parquet_is_refused(data: bytes) -> None:
    with pytest.raises(TableError, match="not a Parquet file"):
        open_file(data, "x.parquet")


def test_a_file_that_is_cut_short_or_damaged_is_refused_or_read(out: Path) -> None:
    data = (out / "attention.parquet").read_bytes()
    for place in np.random.default_rng(1).integers(4, len(data), 40).tolist():
        for damaged in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            with contextlib.suppress(TableError):  # any other error is one that a visitor would see
                open_file(damaged, "x.parquet")


def test_more_than_memory_holds_is_refused_before_it_is_read() -> None:
    many = pa.table(
        {
            "picture": pa.array(np.repeat(np.arange(300_000), 2).astype(str)),
            "layer": pa.array(np.full(600_000, 11)),
            "subspace": pa.array(np.tile([0, 1], 300_000)),
            "area": pa.array(np.zeros(600_000)),
            "peak": pa.array(np.zeros(600_000)),
        }
    )
    with pytest.raises(TableError, match="at most 500,000"):
        open_file(_file(many), "many.parquet")
    # One long text, a hundred thousand times: a few kB in the file, ten GB where each row had its own.
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 100_000]))
    bomb = pa.table({"picture": names, "layer": pa.array(np.full(100_000, 11))})
    for name, values in (("subspace", np.zeros(100_000)), ("area", np.zeros(100_000)), ("peak", np.zeros(100_000))):
        bomb = bomb.append_column(name, pa.array(values))
    with pytest.raises(TableError, match="text of 100,000 bytes"):
        open_file(_file(bomb), "bomb.parquet")


def test_a_folder_without_a_table_says_why(tmp_path: Path, out: Path) -> None:
    with pytest.raises(TableError, match="not a folder"):
        open_folder(tmp_path / "none")
    with pytest.raises(TableError, match="holds no table"):
        open_folder(tmp_path)
    (tmp_path / "parts").mkdir()
    with pytest.raises(TableError, match="not finished"):
        open_folder(tmp_path)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "attention.parquet").write_bytes((out / "attention.parquet").read_bytes())
    (alone / "settings.json").write_text("[]")
    opened = open_folder(alone)
    assert (
        opened.variant == TWO_LAYERS
        and opened.looks
        and opened.looks.crop(0) is None
        and opened.looks.maps(0, 11) is None
    )
    assert mean_maps(opened, 11) is None


def test_numbers_of_inspect_and_of_the_table_are_the_same(table: Table) -> None:
    """A picture that is opened on Inspect from a table is the crop, cut and resized already.

    It must stay what it is.
    """
    from ulsam_viz.images.preprocessing import prepare

    assert table.looks
    pixels = table.looks.crop(0)
    assert pixels is not None
    again: ModelInput = prepare(Image.fromarray(pixels), get_variant(TWO_LAYERS).preprocessing)
    assert np.array_equal(again.pixels, pixels)
