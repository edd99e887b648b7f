"""README and docs/: short, with links that lead somewhere, Python that runs, and a picture of the code as it is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from docs.draw_rooms import floors_of, read_arrows, table_of, with_table, without_implied
from tests.test_examples import run
from ulsam_viz.paths import ASSETS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_readme_has_at_most_150_lines_of_at_most_120_columns() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert not [line for line in lines if len(line) > 120]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if not link.startswith("http"):
            target, _, heading = link.partition("#")
            path = page.parent / target if target else page
            assert path.exists(), link
            assert not heading or heading in headings(path.read_text()), link


def headings(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.M)}


def test_readme_leads_to_every_document() -> None:
    text = (ROOT / "README.md").read_text()
    assert not [page.name for page in PAGES if page.parent.name == "docs" and f"docs/{page.name}" not in text]


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_python_of_the_documents_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ASSETS / "coffee.jpg", "photo.jpg")
    own = run(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL), page)
    assert own["result"].attention[12].shape == (4, 14, 14)
    assert own["result"].attributions["grad_cam"].shape == (224, 224)
    assert (tmp_path / "seen" / "sheet.png").exists()


def test_the_rooms_of_the_design_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    assert text == with_table(text, table_of(read_arrows())), "python docs/draw_rooms.py"


def test_a_room_stands_above_what_it_imports_and_circles_share_a_floor() -> None:
    imports = {"page": {"run", "tools"}, "run": {"work", "tools"}, "work": {"run", "tools"}, "tools": set[str]()}
    arrows = {room: frozenset(targets) for room, targets in imports.items()}
    assert floors_of(arrows) == {"page": 2, "run": 1, "work": 1, "tools": 0}
    assert without_implied(arrows)["page"] == {"run"}
    assert without_implied(arrows)["run"] == {"work", "tools"}


def test_imports_are_found_in_functions_and_not_for_type_checkers(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from .zoo.names import x",
        "zoo/__init__.py": "",
        "zoo/names.py": "import typing\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..ui.run "
        "import page",
        "ui/__init__.py": "",
        "ui/run/__init__.py": "",
        "ui/run/page.py": "def show():\n    from ...zoo import names\n    from ..tools import thing",
        "ui/tools.py": "from .run.page import show",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read_arrows(tmp_path) == {"ui/run": {"ui", "zoo"}, "ui": {"ui/run"}, "zoo": set()}
