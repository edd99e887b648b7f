"""Reports: documents that say everything and fetch nothing, archives whose files agree."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from tests.browser import BROWSER_TEST, running_browser
from tests.patience import PATIENCE
from tests.test_app import APP, fine
from tests.test_sheet import a_sheet
from ulsam_viz import explain, insert_ulsam
from ulsam_viz.analysis.attribution import Attribution
from ulsam_viz.analysis.effects import Effect, ShapleyValues
from ulsam_viz.cli.program import main
from ulsam_viz.figures.colours import SCALES, Scale
from ulsam_viz.figures.papers import Legend, as_printed
from ulsam_viz.images.preprocessing import Preprocessing, decode_image
from ulsam_viz.images.samples import list_samples
from ulsam_viz.paths import program
from ulsam_viz.questions.describe import compared_rows
from ulsam_viz.questions.view import topic_of
from ulsam_viz.report.answers import answered, written
from ulsam_viz.report.archive import as_zip
from ulsam_viz.report.citation import PAPER, SOFTWARE, bibtex
from ulsam_viz.report.document import as_html
from ulsam_viz.report.measures import measured
from ulsam_viz.report.numbers import as_csv
from ulsam_viz.report.record import Report, command_of, record_of
from ulsam_viz.zoo.variants import get_variant

NAME = "mobilenet_v1-0.5-after11-g4"
COFFEE = list_samples()[0].path
ROOT = Path(__file__).parent.parent
CLASSES = ["cat", "dog", "stop_sign"]


def a_report(picture: str = "A picture", address: str = "http://localhost/?g=4&picture=A", **changes: Any) -> Report:
    own = a_sheet()
    # Nine to a place
    part = replace(own.attributions["grad_cam"], values=own.attributions["grad_cam"].values[:63, :63])
    sheet = replace(own, picture=picture, pixels=own.pixels[:63, :63], attributions={"grad_cam": part})
    shares = ShapleyValues(np.array([0.1, -0.2, 0.3, 0.0]), 0.2, np.zeros(4), 16)
    times = {"loop": 1.5, "all": [np.zeros((2, 3)), None, True]}
    asked = {topic_of(("shapley", 11, 2), CLASSES): shares, topic_of(("module-times", 4, 2), CLASSES): times}
    made = {"methods": {"grad_cam": {}}, "seed": 0, "device": "cpu"}
    return Report(
        sheet,
        record_of(get_variant(NAME)),
        CLASSES,
        made,
        "ulsam-viz inspect x.jpg",
        **{"address": address, "asked": asked, **changes},
    )


class Reader(HTMLParser):
    """Reads a document as a browser would, and remembers what it refers to and what it shows."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.tags.add(tag)
        assert not [name for name in own if name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)
        self.sources += [own["src"] or ""] if "src" in own else []
        self.links += [own["href"] or ""] if "href" in own else []
        if tag == "img":
            self.alts.append(own["alt"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.words).replace("\u00a0", " ")


def test_the_document_is_whole_and_fetches_nothing() -> None:
    report = a_report()
    read = Reader(as_html(report))
    assert not read.open
    assert not {"script", "link", "iframe", "object", "base", "form"} & read.tags
    assert all(source.startswith("data:image/") for source in read.sources)
    assert read.links == ["http://localhost/?g=4&picture=A"]
    assert "url(" not in as_html(report) and "@import" not in as_html(report)
    assert sum("subspace" in alt for alt in read.alts) == 4 and any("Grad-CAM" in alt for alt in read.alts)
    assert as_html(report) == as_html(report)


@pytest.mark.parametrize("name", ['<script>alert(1)</script>"', "\" onerror='x", "a & b < c", "{title} $x_1$ %s"])
def test_a_pictures_name_is_text_and_nothing_else(name: str) -> None:
    report = a_report(name, "javascript:alert(1)", source=name)
    read = Reader(as_html(report))
    assert "script" not in read.tags and not read.links
    assert name in read.text and any(name in alt for alt in read.alts)
    with zipfile.ZipFile(io.BytesIO(as_zip(report, f"../../{name}"))) as archive:
        assert all(re.fullmatch(r"[\w.\-]+/[\w.\-/]+", member) and ".." not in member for member in archive.namelist())
        assert len({member.split("/")[0] for member in archive.namelist()}) == 1


def test_the_document_says_every_number_of_the_view() -> None:
    report = a_report()
    text = Reader(as_html(report)).text
    for m in measured(report.sheet.attention, {n: a.values for n, a in report.sheet.attributions.items()}):
        place, alike = f"{m['row']}, {m['column']}", f"{m['redundancy']:+.2f}"
        for said in (f"{100 * m['area']:.1f} %", f"{m['peak']:.2f}", place, f"{m['entropy']:.2f}", alike):
            assert said in text
    for p, logit in zip(report.sheet.probabilities, report.sheet.logits, strict=True):
        assert f"{p:.1%}" in text and f"{logit:.3f}" in text
    scaled = report.sheet.scaled()[11]
    assert all(label in text for _, label in scaled.ticks) and scaled.unit in text
    variant = get_variant(NAME)
    for said in (
        variant.sha256,
        variant.name,
        f"{variant.metrics['top1']} %",
        "torch 2.",
        "ulsam-viz inspect x.jpg",
        "@inproceedings",
    ):
        assert said in text
    assert "Shapley share" in text and "class “stop sign”" in text and "-0.20000" in text
    assert "in the archive, 2 × 3" in text and "array(" not in text and "nan" not in text


def test_values_are_written_for_people() -> None:
    values = [None, float("nan"), True, np.float32(0.25), 3, "word"]
    assert [written("ρ", v) for v in values] == ["–", "–", "yes", "+0.25", "3", "word"]
    assert written("top-1 flips", 12.5) == "12 %"
    rows = compared_rows(["a", "b"], 1, np.array([0.0, 1.0]), np.array([1.0, 1.0]), temperature=1, name="changed")
    assert [row["class"] for row in rows] == ["b (target)", "a"] and rows[1]["changed"] == pytest.approx(50)


def test_a_class_that_is_called_like_a_formula_is_none_in_a_table() -> None:
    files = as_csv(replace(a_report(), classes=["=1+1", "-x", "-5"]))
    cells = [row["class"] for row in csv.DictReader(io.StringIO(files["answers.csv"].decode()))]
    assert cells == ["'=1+1", "'-x", "-5"]


def test_the_archive_holds_one_thing_in_all_its_forms() -> None:
    report = a_report()
    data = as_zip(report, "a report")
    assert data == as_zip(report, "a report")
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None

    def read(name: str) -> bytes:
        return archive.read(f"a_report/{name}")

    def rows(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(read(f"csv/{name}.csv").decode())))

    figures = {"picture", "attribution-grad_cam", *(f"attention-11-{k}" for k in (1, 2, 3, 4))}
    files = {"README.txt", "report.html", "input.png", "sheet.png", "numbers.npz", "settings.json", "citation.bib"}
    files |= {f"figures/{f}.{kind}" for f in figures for kind in ("png", "svg")}
    files |= {f"csv/{name}.csv" for name in ("answers", "measures", "maps", "attributions", "asked")}
    assert set(archive.namelist()) == {f"a_report/{f}" for f in files}
    assert all(name.split("/")[0] in read("README.txt").decode() for name in files - {"README.txt"})
    assert read("report.html").decode() == as_html(report) and read("citation.bib").decode() == bibtex()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(read("input.png")))), report.sheet.pixels)
    with np.load(io.BytesIO(read("numbers.npz")), allow_pickle=False) as npz:
        numbers = dict(npz)
    maps, attribution = np.zeros_like(numbers["attention_11"]), np.zeros_like(numbers["attribution_grad_cam"])
    for row in rows("maps"):
        maps[int(row["subspace"]) - 1, int(row["row"]), int(row["column"])] = np.float32(row["attention"])
    for row in rows("attributions"):
        attribution[int(row["row"]), int(row["column"])] = np.float32(row["attribution"])
    assert np.array_equal(maps, numbers["attention_11"]) and np.array_equal(
        attribution, numbers["attribution_grad_cam"]
    )
    assert [float(row["logit"]) for row in rows("answers")] == numbers["logits"].tolist()
    assert [float(row["probability"]) for row in rows("answers")] == numbers["probabilities"].tolist()
    assert [row["class"] for row in rows("answers")] == numbers["classes"].tolist() == ["cat", "dog", "stop_sign"]
    found = measured(report.sheet.attention, {"grad_cam": attribution})
    assert [(float(r["peak"]), float(r["agreement_grad_cam"])) for r in rows("measures")] == [
        (m["peak"], m["agreement"]["grad_cam"]) for m in found
    ]
    asked = {(row["what"], row["place"]): row["value"] for row in rows("asked")}
    assert float(asked["examined_shapley_layer_11_class_stop_sign.values", "1"]) == -0.2
    assert asked["examined_module-times.loop", ""] == "1.5"
    settings = json.loads(read("settings.json"), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert (
        settings["versions"]["torch"] and settings["record"]["sha256"] == settings["sha256"] == get_variant(NAME).sha256
    )
    assert settings["command"] == report.command and settings["target"] == "dog"
    assert json.loads(str(numbers["settings"]))["command"] == report.command


def test_a_title_is_never_a_formula() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    printed = as_printed(pixels, r"a $\frac$ b", Legend("viridis", [(0, "0"), (1, "1")], "$unit"))
    assert rb"a $\frac$ b" in printed["svg"] and b"$unit" in printed["svg"]


@pytest.mark.parametrize("scale", SCALES)
def test_no_word_of_a_figure_is_cut_off(scale: Scale) -> None:
    own = a_sheet()
    small = replace(
        own, picture="A long name " * 12, attributions={"grad_cam": shrunk(own.attributions["grad_cam"], 1.23e-5)}
    )
    for name, data in small.pictures(scale=scale).items():
        if name.endswith(".png"):
            ink = np.asarray(Image.open(io.BytesIO(data)).convert("L")) < 250
            assert ink.any() and not (ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any()), name
            continue
        root = ElementTree.fromstring(data)
        left, top, width, height = map(float, root.attrib["viewBox"].split())
        texts = [e for e in root.iter() if e.tag.endswith("text")]
        for element in texts:
            moved = re.match(r"translate\(([\d.]+) ([\d.]+)\)", element.get("transform", ""))
            x, y = map(float, moved.groups() if moved else (element.attrib["x"], element.attrib["y"]))
            assert left < x < left + width and top < y < top + height, (name, element.text)
        assert texts


def shrunk(own: Attribution, factor: float) -> Attribution:
    return replace(own, values=own.values * np.float32(factor))


def test_a_dead_map_has_no_place_and_no_share_above_one() -> None:
    uniform = np.full((1, 14, 14), np.float32(1 / 196) * np.float32(1 + 1e-6), np.float32)
    (dead,) = measured({11: uniform}, {"grad_cam": np.random.default_rng(0).random((14, 14))})
    assert dead["dead"] and dead["row"] is dead["column"] is dead["redundancy"] is dead["agreement"]["grad_cam"] is None
    assert dead["area"] <= 1 and dead["entropy"] == pytest.approx(np.log2(196), abs=1e-6)
    report = a_report()
    report = replace(report, sheet=replace(report.sheet, attention={11: np.repeat(uniform, 4, 0)}), asked={})
    assert "None" not in (text := Reader(as_html(report)).text) and "uniform" in text
    rows = list(csv.DictReader(io.StringIO(as_csv(report)["measures.csv"].decode())))
    assert [(row["row"], row["column"], row["redundancy"], row["agreement_grad_cam"]) for row in rows] == [
        ("",) * 4
    ] * 4


def test_effects_that_were_asked_are_measures_too() -> None:
    effects = [Effect(k, "off", 0.5 - k, 0.25, float(k == 1), 0.0, None, 1) for k in range(4)]
    other = Effect(0, "uniform", 9.0, 9.0, 0.0, 0.0, None, 1)
    report = a_report(
        asked={
            topic_of(("ablate", 11, 1, ("rocket", "")), CLASSES): [other, *effects, replace(effects[0], subspace=None)]
        }
    )
    rows = list(csv.DictReader(io.StringIO(as_csv(report)["measures.csv"].decode())))
    assert [row["removed_logit"] for row in rows] == ["0.5", "-0.5", "-1.5", "-2.5"]
    assert [row["removed_flips"] for row in rows] == ["False", "True", "False", "False"]
    text = Reader(as_html(report)).text
    assert "attention removed" in text and "-2.5000" in text and "+25.000 pt" in text
    assert "removed" not in as_csv(a_report())["measures.csv"].decode()


def test_a_report_says_where_the_page_shows_the_view(tmp_path: Path) -> None:
    """A sample is named; any other picture is to be uploaded. The address opens what the report shows."""
    seen = explain(
        decode_image(COFFEE.read_bytes()),
        NAME,
        ("occlusion", "grad_cam"),
        "cup",
        settings={"occlusion": {"window": 48}},
    )
    of_sample, of_own = (seen.reported(file=file) for file in (str(COFFEE), str(tmp_path / "x.jpg")))
    assert "uploaded" not in of_sample.address_note and "uploaded" in of_own.address_note
    assert "picture=" not in of_own.address and "CC0" in of_sample.source and not of_own.source
    page, _, query = of_sample.address.partition("?")
    assert page == "/" and of_sample.address in Reader(as_html(of_sample)).text
    app = AppTest.from_file(APP, default_timeout=PATIENCE)
    for key, values in parse_qs(query).items():
        app.query_params[key] = values
    fine(app.run())
    state = app.session_state
    assert (state["net"], state["position"], state["g"], state["picture"]) == ("V1-0.5", "after-11", 4, COFFEE.stem)
    assert (state["target"], set(state["methods"]), state["occlusion.window"]) == ("cup", {"occlusion", "grad_cam"}, 48)
    study = explain(decode_image(COFFEE.read_bytes()), "mobilenet_v1-0.5-after11-cbam", ())
    assert study.reported().address == ""  # the page offers it nowhere


def test_what_to_cite_is_what_the_citation_file_says() -> None:
    yaml = pytest.importorskip("yaml")
    stated = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = stated["references"][0]
    assert (PAPER.title, PAPER.year) == (paper["title"], paper["year"])
    assert list(PAPER.authors) == [f"{a['family-names']}, {a['given-names']}" for a in paper["authors"]]
    fields = dict(PAPER.fields)
    assert (fields["booktitle"], fields["url"]) == (paper["conference"]["name"], paper["url"])
    assert f"arXiv:{fields['eprint']}" == paper["identifiers"][0]["value"]
    own = dict(SOFTWARE.fields)
    assert (SOFTWARE.title, own["version"], own["license"]) == (
        stated["title"],
        str(stated["version"]),
        stated["license"],
    )
    assert SOFTWARE.authors == tuple(f"{{{a['name']}}}" for a in stated["authors"])
    assert str(SOFTWARE.year) == str(stated["date-released"])[:4]
    assert bibtex().count("{") == bibtex().count("}")


def test_a_command_means_what_it_says() -> None:
    twins = replace(get_variant(NAME), classes=("crane", "crane", "7"))
    methods = {"integrated_gradients": {"steps": 64}, "grad_cam": {}}
    said = command_of("a b.jpg", twins, methods, 1)
    assert "'a b.jpg'" in said and "--set integrated_gradients.steps=64 " in said and "--target 1 " in said
    assert "--target crane " in command_of("x.jpg", twins, {}, 0)
    assert "--target 2 " in command_of("x.jpg", twins, {}, 2)  # "7" would be read as a number
    assert "./-x.jpg" in command_of("-x.jpg", twins, {}, 0)
    assert "--target ² " in command_of("x.jpg", replace(twins, classes=("²",)), {}, 0).replace("'", "")
    assert "--ask ablation sanity --report" in command_of("x.jpg", twins, {}, 0, ask=["ablation", "sanity"])
    said = command_of("x.jpg", twins, {}, 0, seed=3, ask=["ablation"], other="-y.jpg", cropped=True)
    assert "x.jpg --cropped " in said and "--seed 3 --other ./-y.jpg --ask ablation --report" in said


@pytest.mark.parametrize("variant", [NAME, "efficientnet_lite0-after12-g4"])
def test_the_command_that_a_report_prints_gives_its_numbers_again(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an archive's own picture.

    With the target, the settings, the seed and the other picture that were not the usual ones.
    """
    import ulsam_viz.engine.engine as engine

    methods, settings = ("gradient_shap", "grad_cam"), {"gradient_shap": {"samples": 8}}
    crop = Image.fromarray(explain(decode_image(COFFEE.read_bytes()), variant, ()).pixels)
    seen = explain(crop, variant, methods, 3, settings=settings, seed=5, cropped=True)
    assert np.array_equal(seen.pixels, np.asarray(crop))
    asked = seen.ask("ablation", other="rocket")
    ((_, effects),) = asked.items()
    report = seen.reported(file="input.png", asked=asked)
    assert "rocket" in Reader(as_html(report)).text
    crop.save(tmp_path / "input.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "_default", engine.Engine(workers=1))
    words = shlex.split(report.command)
    assert main([*words[words.index("inspect") :], "--save", "found", "--json"]) == 0
    found = dict(np.load(tmp_path / "found" / "input" / "numbers.npz"))
    for key, values in (("pixels", seen.pixels), ("logits", seen.logits), *_attributed(seen.attributions)):
        np.testing.assert_allclose(found[key], values, rtol=1e-3, atol=1e-4 * float(np.abs(values).max()), err_msg=key)
    (printed,) = json.loads(capsys.readouterr().out)["pictures"]
    rows = printed["asked"][0]["tables"][0]["rows"]
    np.testing.assert_allclose([row["Δ logit"] for row in rows], [e.logit for e in effects], rtol=1e-3, atol=1e-5)
    (usual,) = seen.ask("ablation").values()
    taken, untouched = ([e.logit for e in results if e.change == "other_picture"] for results in (effects, usual))
    assert max(np.abs(np.subtract(taken, untouched))) > 1e-4  # so it is seen whether the other picture is the same


def _attributed(attributions: Any) -> list[tuple[str, np.ndarray]]:
    return [(f"attribution_{name}", values) for name, values in attributions.items()]


def test_pictures_that_are_none_and_crops_of_another_size_are_refused_in_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for wrong, said in (
        (["--ask", "ablation", "--other", "nowhere.png"], "no file 'nowhere.png'"),
        (["--cropped"], "224 x 224"),
    ):
        assert main(["inspect", str(COFFEE), "--variant", NAME, *wrong]) == 2
        error = capsys.readouterr().err
        assert said in error and "Traceback" not in error and len(error.splitlines()) == 1


def test_the_page_the_archive_and_the_command_line_give_the_same_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the page's buttons make, pressed; the command line computes anew, with an engine of its own."""
    import streamlit as st

    import ulsam_viz.engine.engine as engine

    made: dict[str, Any] = {}
    monkeypatch.setattr(st, "download_button", lambda label, make, *_, **__: made.__setitem__(label, make))
    app = AppTest.from_file(APP, default_timeout=PATIENCE)
    for key, value in {
        "net": "V1-0.5",
        "picture": "Coffee cup",
        "subspace": "layer 11, subspace 2",
        "question": "Shapley share",
    }.items():
        app.query_params[key] = value
    fine(app.run())
    page = dict(np.load(io.BytesIO(made["Numbers (NPZ)"]())))
    document = Reader(made["Report (HTML)"]().decode()).text
    archive = zipfile.ZipFile(io.BytesIO(made["Archive for papers (ZIP)"]()))
    (numbers,) = (name for name in archive.namelist() if name.endswith("numbers.npz"))
    zipped = dict(np.load(io.BytesIO(archive.read(numbers))))
    assert page.keys() == zipped.keys() and all(np.array_equal(page[key], zipped[key]) for key in page)
    assert "Shapley share" in document and "They sum to" in document and "Coffee cup" in document

    monkeypatch.setattr(engine, "_default", engine.Engine(workers=1))
    settings = json.loads(str(page["settings"]))
    command = ["inspect", str(COFFEE), "--variant", settings["variant"], "--methods", *settings["methods"]]
    assert main([*command, "--save", str(tmp_path), "--report", str(tmp_path / "coffee.html"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["pictures"][0]
    own = dict(np.load(tmp_path / "coffee" / "numbers.npz"))
    same = {
        "pixels",
        "logits",
        "probabilities",
        "attention_11",
        "attribution_grad_cam",
        "attribution_integrated_gradients",
    }
    assert same <= page.keys() and same <= own.keys()
    for key in same:
        assert np.allclose(page[key], own[key], rtol=1e-4, atol=1e-6 * max(1.0, float(np.abs(page[key]).max()))), key
    assert printed["target"] == settings["target"] and printed["report"] == str(tmp_path / "coffee.html")
    attributions = {m: page[f"attribution_{m}"] for m in settings["methods"]}
    for mine, theirs in zip(printed["subspaces"], measured({11: page["attention_11"]}, attributions), strict=True):
        assert (mine["row"], mine["column"], mine["dead"]) == (theirs["row"], theirs["column"], theirs["dead"])
        for key in ("area", "peak", "entropy"):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-3)
        assert mine["agreement"] == pytest.approx(theirs["agreement"], abs=1e-2)
    # The page's command, run on the archive's own picture, finds the page's numbers again.
    (tmp_path / "input.png").write_bytes(archive.read(numbers.replace("numbers.npz", "input.png")))
    words = settings["command"].removeprefix(f"{program()} ").split()
    assert words[:2] == ["inspect", "input.png"]
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--save", "again"]) == 0
    again = dict(np.load(tmp_path / "again" / "input" / "numbers.npz"))
    assert np.array_equal(again["pixels"], page["pixels"]) and np.allclose(
        again["attention_11"], page["attention_11"], rtol=1e-4
    )
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("question", "shown", "kind"),
    [
        ("ablation", "Effect if removed", "ablate"),
        ("shapley", "Shapley share", "shapley"),
        ("sources", "Why there?", "source"),
        ("through", "Contribution through it", "through"),
        ("places", "Is it faithful?", "faithful"),
        ("sanity", "Random-weight check", "sanity"),
    ],
)
def test_the_command_line_asks_what_the_page_asks(
    question: str, shown: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and numbers of the page's answers are those of `--ask`, and the page's command asks for them."""
    import streamlit as st

    made: dict[str, Any] = {}
    monkeypatch.setattr(st, "download_button", lambda label, make, *_, **__: made.__setitem__(label, make))
    app = AppTest.from_file(APP, default_timeout=PATIENCE)
    for key, value in {
        "net": "V1-0.5",
        "picture": "Coffee cup",
        "subspace": "layer 11, subspace 2",
        "question": shown,
    }.items():
        app.query_params[key] = value
    fine(app.run())
    page = dict(np.load(io.BytesIO(made["Numbers (NPZ)"]())))
    settings = json.loads(str(page["settings"]))
    assert f" --ask {question} --report" in settings["command"]
    seen = explain(decode_image(COFFEE.read_bytes()), NAME, list(settings["methods"]), settings=settings["methods"])
    report = seen.reported(asked=seen.ask(question))
    arrays: dict[str, np.ndarray] = {}
    found = report.found(arrays)
    asked = [name for name in settings if name.startswith(f"examined_{kind}_")]
    assert asked and set(asked) <= set(found)
    for name in asked:
        assert as_numbers(settings[name]) == pytest.approx(as_numbers(found[name]), rel=1e-3, abs=1e-4, nan_ok=True)
    for name in (name for name in page if name.startswith(f"examined_{kind}_")):
        assert np.allclose(page[name], arrays[name], rtol=1e-3, atol=1e-4, equal_nan=True)
    assert any(one.title in shown or shown in one.title for one in answered(report))


def test_a_network_of_ones_own_is_asked_too(tmp_path: Path) -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv_layer_1 = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=4, padding=1), torch.nn.ReLU())
            self.head = torch.nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.conv_layer_1(x).mean((2, 3)))
            return out

    network = insert_ulsam(Own(), {"conv_layer_1": 2}, example=torch.zeros(1, 3, 32, 32))
    names = ("a_row_5", "b_class_c", "of_layer_9")  # what looks like the parts of a question's name
    seen = explain(
        decode_image(COFFEE.read_bytes()), network, ("saliency",), 1, preprocessing=Preprocessing(32), classes=names
    )
    asked = seen.ask("ablation", "shapley", "sources", "through", "places")
    written_to = seen.report(tmp_path / "own.html", asked=asked)
    assert "What was asked" in (text := Reader(written_to.read_text()).text) and "attention removed" in text
    report = seen.reported(asked=asked)
    assert {one.about for one in answered(report)} == {
        "class “b class c”",  # of the baselines, which are one for all layers
        "layer conv_layer_1, class “b class c”",
        *(
            f"layer conv_layer_1, subspace {k + 1}, by saliency, row {row}, column {column}"
            for k, (row, column) in enumerate(
                np.unravel_index(m.argmax(), m.shape) for m in seen.attention["conv_layer_1"]
            )
        ),
    }
    assert "ulsam-viz inspect" not in report.command and "explain(" in report.command  # no command can load it
    assert "In Python, where network is the live" in text
    with pytest.raises(ValueError, match="of variants alone"):
        seen.ask("sanity")


def as_numbers(value: Any) -> list[float]:
    """Return all numbers of a plain value, but for how long something took."""
    if isinstance(value, dict):
        return [n for key, item in value.items() if key != "seconds" for n in as_numbers(item)]
    if isinstance(value, list):
        return [n for item in value for n in as_numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.browser
@BROWSER_TEST[1]
def test_the_document_prints_on_pages_and_fits_a_phone(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(as_html(a_report("A name " + "that is long " * 20)), encoding="utf-8")
    with running_browser() as browser:
        page = browser.new_page(viewport={"width": 420, "height": 900}, color_scheme="dark")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 420
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.emulate_media(media="print")
        printed = page.evaluate("getComputedStyle(document.body).backgroundColor")
        pdf = page.pdf(prefer_css_page_size=True)
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert dark != printed == "rgb(255, 255, 255)"
    assert pdf.startswith(b"%PDF") and pdf.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 2
