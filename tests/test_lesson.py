"""The lesson's words, probes and hand-out."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from latex2mathml.converter import convert

from tests.browser import BROWSER_TEST, running_browser
from ulsam_viz.analysis.derivation import derive
from ulsam_viz.analysis.stages import STAGES, run_stages
from ulsam_viz.figures.grids import number_grid
from ulsam_viz.figures.tiles import Display, mosaic, value_range, value_tile
from ulsam_viz.lesson.formulas import formula
from ulsam_viz.lesson.handout import Paper, Section, write_handout
from ulsam_viz.lesson.probes import PROBES, correlation_after_moving, region_means, verdict
from ulsam_viz.lesson.steps import MISCONCEPTIONS, QUIZ, STEPS, Facts
from ulsam_viz.models.ulsam import ULSAM
from ulsam_viz.report.html import Figure
from ulsam_viz.ui.learn.sandbox import find_trouble
from ulsam_viz.ui.learn.whole import how_little

FACTS = Facts("Cat", "a network", 11, 256, 4, 64, 14, 14, 2, 70, 3, 5, "cup", 0.87, 149.0)


def test_the_path_goes_through_every_stage_once_and_in_order() -> None:
    assert [s.stage for s in STEPS if s.stage] == list(STAGES[1:])
    assert len({s.title for s in STEPS}) == len({s.id for s in STEPS}) == len(STEPS)
    for step in STEPS:
        text = " ".join(step.write(FACTS))
        assert "{" not in text
        assert 1 <= text.count(". ") + text.endswith(".") <= 5  # a few sentences, no more


def test_facts_follow_the_numbers_of_the_layer() -> None:
    assert FACTS.mean_gain == pytest.approx(1.0051, abs=1e-4)
    assert FACTS.module_macs == pytest.approx(2 * 256 * 196 / 1e6)
    module = ULSAM(256, 4)
    assert FACTS.module_values == sum(p.numel() for p in module.parameters())
    assert replace(FACTS, h=7, w=7).mean_gain == pytest.approx(1.0204, abs=1e-4)


def test_the_quiz_can_be_answered_from_the_steps_it_names() -> None:
    assert len(QUIZ) == 6
    for question in QUIZ:
        assert question.step in {s.id for s in STEPS}
        assert 0 <= question.right < len(question.answers) == len(set(question.answers))
        assert question.reason
    assert len({q.right for q in QUIZ}) > 1  # always the same letter would be no question
    # What two answers claim, computed: 10 times uniform at 14 x 14, and uniform itself.
    assert QUIZ[3].answers[QUIZ[3].right] == "By about 1.05"
    assert pytest.approx(1.05, abs=2e-3) == 1 + 10 / 196
    assert f"{1 / 196:.4f}" in QUIZ[1].text


def test_misconceptions_are_six_and_take_live_numbers() -> None:
    live = {"f": FACTS, "peak_gain": 1.05, "effect": "", "differences": "", "paper_range": 0.5}
    texts = [card.claim.format(**live) + card.truth.format(**live) for card in MISCONCEPTIONS]
    assert len(texts) == 6
    assert all("{" not in text for text in texts)


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.title)
def test_probes_are_pictures_whose_regions_hold_what_they_name(probe: object) -> None:
    probe = next(p for p in PROBES if p is probe)
    pixels = np.asarray(probe.draw(), np.float64)
    assert pixels.shape == (448, 448, 3)
    side = len(pixels)

    def part(name: str) -> np.ndarray:
        top, left, bottom, right = (round(v * side) for v in probe.regions[name])
        return pixels[top:bottom, left:right].mean(2)

    if probe.title == "Two blobs":
        assert part("large disc").max() == part("small disc").max() == 235
        assert (part("large disc") > 230).sum() > 20 * (part("small disc") > 230).sum()
        assert part("top right").max() <= 111
    if probe.title == "Two gratings":
        changes = {
            name: np.abs(np.diff(np.sign(part(name)[0] - 128))).sum() / part(name).shape[1] for name in probe.regions
        }
        assert changes["fine stripes"] > 3 * changes["coarse stripes"]
    if probe.moved:
        draw, (down, right) = probe.moved
        moved = np.roll(pixels, (round(down * side), round(right * side)), (0, 1))
        np.testing.assert_array_equal(moved, np.asarray(draw(), np.float64))
        assert all((right * cells) % 1 == pytest.approx(0, abs=1e-9) for cells in (7, 14, 28, 56))
    if probe.title == "Nothing":
        assert pixels.std((0, 1)).max() == 0


def test_a_planted_map_is_found_in_its_region_and_follows_its_object() -> None:
    relative = np.zeros((2, 14, 14))
    relative[0, 4:10, 1:7] = 5
    relative[1] = 1
    assert region_means(relative, (2 / 7, 1 / 14, 5 / 7, 1 / 2)).tolist() == [5, 1]
    assert region_means(relative, (0, 4 / 7, 2 / 7, 1)).tolist() == [0, 1]
    rng = np.random.default_rng(0)
    before = rng.random((3, 14, 14))
    after = np.roll(before, 8, 2)
    after[1] = rng.random((14, 14))
    after[2] = 1
    found = correlation_after_moving(before, after, (0.0, 4 / 7))
    assert found[0] == pytest.approx(1)
    assert abs(found[1]) < 0.5
    assert np.isnan(found[2])
    said = verdict({"large": np.array([0.3, 0.2, -0.1]), "small": np.array([0.1, 0.4, -0.2])}, found)
    assert "1 of 3 rise most at “large”, 1 of 3 rise most at “small”; 1 in none of them" in said
    assert "4 in none" in verdict({"large": np.zeros(4), "small": np.zeros(4)})  # dead maps rise nowhere
    assert "1 of 3 maps move with the object" in said


def test_a_probes_rises_count_from_a_stated_size_on() -> None:
    def said(large: float, small: float) -> str:
        return verdict({"large": np.array([large]), "small": np.array([small])})

    assert "1 of 1 rise most at “large”" in said(0.051, -0.1)
    assert "1 in none of them" in said(0.049, -0.1)
    assert "1 of 1 rise most at “small”" in said(0.2, 0.251)
    assert "1 at several alike" in said(0.2, 0.249)


def test_the_sandbox_names_each_value_that_makes_no_sense() -> None:
    tensor = np.zeros((4, 4, 4))
    assert find_trouble(tensor) == ""
    tensor[0, 1, 2], tensor[3, 0, 0], tensor[1, 1, 1] = np.nan, np.inf, -1001
    trouble = find_trouble(tensor)
    assert "channel 1, row 2, column 3 is empty" in trouble
    assert "channel 4, row 1, column 1 is inf" in trouble
    assert "channel 2, row 2, column 2 is -1001" in trouble


def test_pictures_of_values_use_one_scale_with_zero_in_the_middle_of_signed_ones() -> None:
    signed = np.array([[-1.0, 0.0], [0.5, 2.0]])
    assert value_range(signed) == (-2, 2)
    assert value_range(np.array([[0.2, 3.0]])) == (0.2, 3)
    assert value_range(np.array([[1.002, 1.07]])) == (1.002, 1.07)
    tile = value_tile(signed, Display(), side=4)
    assert tile[0, 3].min() > 200  # 0 is the light middle
    assert tile[3, 3, 0] > tile[3, 3, 2]  # above 0: red
    sheet = mosaic(np.stack([np.full((2, 2), float(i)) for i in range(5)]), Display(), least_side=8)
    assert sheet.shape == (5, 8, 3)
    assert (sheet[:2, 2] == 255).all()
    assert len({tuple(sheet[0, 0]), tuple(sheet[0, 3]), tuple(sheet[3, 3])}) == 3


def test_grids_write_every_number_in_readable_ink() -> None:
    text = number_grid(np.array([[0.0, 1.2345], [-2.0, 1000.0]]), "a < b", limits=(-2.0, 2.0), hue="#ff0000")
    assert re.findall(r">(-?[\d.]+)</td>", text) == ["0", "1.234", "-2", "1000"]
    assert "a &lt; b" in text
    assert "#ff0000" in text


def test_the_handout_holds_everything_and_asks_the_network_for_nothing() -> None:
    section = Section(
        "A <step>",
        "Chapter",
        "One *word* and **two**.",
        (Figure("data:image/jpeg;base64,AA", "S1", "note", "#123456", mark=(0.5, 0.25, 0.1, 0.1)),),
        (r"\frac{1}{2}",),
        "note",
        (("a", "b"), ("1", "2")),
    )
    text = write_handout(Paper("Title", "Sub", (section,), (("Claim", "Truth"),), (("Q?", ("x", "y"), "B. Because."),)))
    assert "A &lt;step&gt;" in text
    assert "<em>word</em>" in text and "<b>two</b>" in text
    assert "<mfrac>" in text
    assert "top:50.00%;left:25.00%" in text
    assert text.index("Q?") < text.index("Because.")
    assert not re.search(r"(src|href)=\"?https?:", text)
    assert "<script" not in text
    assert re.sub(r"xmlns=\"[^\"]+\"", "", text).count("http") == 0


def printed(pdf: bytes) -> list[tuple[str, int]]:
    """Return, for each run of text in its order, what kind of element holds it (``"H2"``) and the number of its page's
    object.
    """
    objects = {
        int(n): body for n, body in re.findall(rb"(\d+) 0 obj\n<<(/Type /StructElem.*?)>>\nendobj", pdf, re.DOTALL)
    }
    found: list[tuple[str, int]] = []

    def walk(number: int, kind: str, page: int) -> None:
        body = objects[number]
        (role,) = re.findall(rb"/S /(\w+)", body)
        kind = kind if role == b"NonStruct" else role.decode()
        page = int(next(iter(re.findall(rb"/Pg (\d+) 0 R", body)), page))
        for inside in re.findall(rb"/K (\[.*?\]|\d+ 0 R|\d+)", body, re.DOTALL):
            for other, text in re.findall(rb"(\d+) 0 R|(\d+)", inside):
                if text:
                    found.append((kind, page))
                elif int(other) in objects:
                    walk(int(other), kind, page)

    for number, body in objects.items():
        if not any(int(parent) in objects for parent in re.findall(rb"/P (\d+) 0 R", body)):
            walk(number, "", 0)
    return found


@pytest.mark.browser
@BROWSER_TEST[1]
def test_on_paper_no_heading_stands_apart_from_its_text() -> None:
    sections = tuple(Section(f"Step {n}", f"Chapter {n // 2}", "word " * (37 * n % 260 + 20)) for n in range(40))
    cards = tuple((f"Claim {n}", "Truth " * (7 * n % 30 + 10)) for n in range(90))
    with running_browser() as browser:
        page = browser.new_page()
        page.set_content(write_handout(Paper("Title", "Sub", sections, cards, (("Q?", ("x", "y"), "B. Because."),))))
        texts = printed(page.pdf(prefer_css_page_size=True, tagged=True))
    assert len({page for _, page in texts}) > 10
    headings = [i for i, (kind, _) in enumerate(texts) if kind in ("H1", "H2", "H3")]
    assert len(headings) >= len(sections) and all(texts[i][1] == texts[i + 1][1] for i in headings)
    chapters = [i for i in headings if texts[i][0] == "H2" != texts[i + 1][0]]  # its line and its text are two
    after, before = chapters[-3:-1]  # of "Sentences that sound right", "Questions", "Answers"
    claims = [text for text in texts[after + 1 : before] if text[0] != "H2"]
    assert len(claims) == 2 * len(cards)
    assert [claims[i] for i in range(0, len(claims), 2) if claims[i][1] != claims[i + 1][1]] == []


@pytest.mark.parametrize("groups", [1, 2, 8])  # with 8, a channel each
def test_every_formula_can_be_set_as_mathml(groups: int) -> None:
    torch.manual_seed(0)
    stages = run_stages(ULSAM(8, groups).eval(), torch.randn(1, 8, 5, 5))
    derivation = derive(stages, subspace=groups - 1, channel=7, row=0, column=4)
    for stage in STAGES[1:]:
        written = formula(stages, derivation, stage)
        for text in (written.symbols, written.numbers):
            markup = convert(text)
            assert markup.startswith("<math")
            assert "\\" not in re.sub(r"<annotation.*?</annotation>", "", markup), text  # nothing is left unread
    assert "<mtable" in convert(r"\begin{array}{l} \underbrace{0.1 \cdot 2}_{\text{channel 3}} \\ = 0.2 \end{array}")


def test_a_prediction_whose_answer_is_too_small_to_matter_says_so() -> None:
    assert how_little(-0.028, 0.027) == ""
    assert "less than the 0.027 that could matter" in how_little(-0.026, 0.027)
