"""Text from outside is text: in every control of every page, in charts, and in what is taken along."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import ulsam_viz.ui
from tests.outside import HOSTILE, OWN, SIGNS, hostile_table, hostile_zoo
from tests.patience import PATIENCE
from tests.test_app import fine
from tests.test_dataset_page import VIEWS
from tests.test_learn import learn
from tests.test_pages import compare, evidence, page
from ulsam_viz.lesson.steps import STEPS
from ulsam_viz.text.escaping import escape_markdown, escape_plotly, markdown_code, markdown_to_html
from ulsam_viz.ui.dataset.opening import OFFERED
from ulsam_viz.ui.run.uploaded_networks import SWITCH

#: Fields that no browser reads as Markdown: what is typed or chosen, names that no one sees, and what has a test of its
#: own.
_PLAIN = {
    "id",
    "form_id",
    "json",
    "spec",
    "columns",
    "alt",
    "value",
    "default",
    "raw_value",
    "raw_values",
    "placeholder",
    "url",
}
_PLAIN_OPTIONS = {"Selectbox", "Slider", "MultiSelect"}
# Which stand in what is escaped, too
_READ = [sign for sign in SIGNS if sign not in (":red", "-> <- --", "%{x}", "\\*")]


def inspect() -> None:
    from ulsam_viz.ui.inspect import page as inspect_page

    inspect_page.show()


def dataset() -> None:
    from ulsam_viz.ui.dataset import page as dataset_page

    dataset_page.show()


def strings(message: Any) -> Iterator[tuple[str, str, str]]:
    """Yield all texts of a message (protobuf) that a page has sent: the kind of the element, the field, the text."""
    kind = message.DESCRIPTOR.name
    for field, value in message.ListFields():
        many = value if field.is_repeated else [value]
        if field.message_type and field.message_type.GetOptions().map_entry:
            continue
        for item in many:
            if field.message_type:
                yield from strings(item)
            elif isinstance(item, str):
                yield kind, field.name, item


class Reader(HTMLParser):
    """Reads a text of HTML: which elements it has, and what is to be read, each element's name where it begins."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.read = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.read += f"<{tag}>"

    def handle_data(self, data: str) -> None:
        self.read += data


def written(spec: Any, key: str = "") -> Iterator[str]:
    """Yield all texts of a chart."""
    if isinstance(spec, dict):
        for name, value in spec.items():
            yield from written(value, name)
    elif isinstance(spec, list):
        for value in spec:
            yield from written(value, key)
    elif isinstance(spec, str):
        yield spec


def texts(app: AppTest) -> list[tuple[str, str, str]]:
    """Return all texts that a page has sent."""
    messages = [proto for node in app._tree if (proto := getattr(node, "proto", None)) is not None]
    return [text for message in messages for text in strings(message)]


def read_as_something_else(app: AppTest) -> list[tuple[str, str, str]]:
    """Return the texts of a page in which something from outside is not escaped for whoever reads it."""
    found = []
    for kind, field, text in texts(app):
        if kind == "PlotlyChart" and field == "spec":
            bad = any({"a", "img"} & Reader(part).tags for part in written(json.loads(text)))
        elif kind == "Html":
            bad = bool({"a", "img"} & Reader(text).tags)
        elif field == "columns":
            bad = any(_reads(str(column.get("help"))) for column in json.loads(text or "{}").values())
        elif field in _PLAIN or (field == "options" and kind in _PLAIN_OPTIONS):
            bad = False
        else:
            bad = _reads(text)
        if bad:
            found.append((kind, field, text[:300]))
    return found


def _reads(markdown: str) -> bool:
    """Tell whether a sign is left that neither a backslash nor a code span takes its meaning."""
    left = re.sub(r"\\.|(``+) .*? \1(?!`)", "", markdown)
    return any(sign in left for sign in _READ)


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("ulsam_viz.zoo.variants.CHECKPOINTS", hostile_zoo(tmp_path))
    monkeypatch.setenv(SWITCH, "1")
    return tmp_path


IN_VAIN = dict.fromkeys(("picture", "position", "g", "target", "crop", "net"), HOSTILE)
VIEWS_OF_ONE = [
    *(
        (inspect, {"picture": "Cat", "subspace": "layer 11, subspace 1", "question": q})
        for q in ("ablation", "through", "what-if")
    ),
    (inspect, IN_VAIN),
    (inspect, {"net": OWN}),
    *((compare, {"way": way}) for way in ("groups", "positions", "two")),
    (compare, {"way": HOSTILE, "second-net": HOSTILE, "second-position": HOSTILE}),
    *(
        (learn, {"part": "lesson", "step": step.id})
        for step in STEPS
        if step.id in ("why", "output", "reading", "groups")
    ),
    *((learn, {"part": part}) for part in ("probes", "experiments", HOSTILE)),
    (evidence, {}),
]


@pytest.mark.parametrize(("show", "query"), VIEWS_OF_ONE, ids=[show.__name__ for show, _ in VIEWS_OF_ONE])
def test_no_control_reads_names_of_a_manifest_or_an_address_as_markdown(
    zoo: Path, show: Callable[[], None], query: dict[str, str]
) -> None:
    app = AppTest.from_function(show, default_timeout=PATIENCE)
    for key in ("own-network", "statistics", "evidence-cost", "evidence-experiments"):
        app.session_state[key] = True  # what computes only for those who open it
    for key, value in ({"net": "V1-0.5", "methods": "Saliency"} | query).items():
        app.query_params[key] = value
    fine(app.run())
    assert not read_as_something_else(app)
    assert any("evil" in text for _, _, text in texts(app))  # it is shown


@pytest.mark.parametrize("view", VIEWS)
def test_no_control_reads_a_tables_texts_as_markdown(
    view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = hostile_table(tmp_path)
    monkeypatch.setenv(OFFERED, str(folder))
    app = page(dataset, source="table", table=folder.name, look=view, measure=f"agreement_{HOSTILE}")
    assert not app.error and "6 pictures" in "".join(m.value for m in app.markdown)
    assert not read_as_something_else(app)


def test_no_refusal_reads_a_folders_name_as_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ulsam_viz.ui.dataset.opening.may_open_folders", lambda: True)
    app = page(dataset, source="table", folder=f"/nowhere/{HOSTILE}")
    assert "evil" in app.error[0].value and not read_as_something_else(app)


def test_no_refusal_reads_a_files_name_as_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "1")
    app = AppTest.from_function(inspect, default_timeout=PATIENCE)
    app.query_params["net"], app.query_params["methods"] = "V1-0.5", "Saliency"
    app.session_state["own-network"] = True
    app.run()
    app.file_uploader(key="own-file").upload(
        f"{HOSTILE.replace('/', '|')}.pt", b"no network", "application/octet-stream"
    ).run()
    (error,) = app.error
    assert "evil" in error.value and not read_as_something_else(app)


def test_messages_of_the_pages_escape_what_is_put_into_them() -> None:
    """Errors tell what files, addresses and manifests say: whatever stands in one is a number or escaped."""
    files = [
        (file, ast.parse(file.read_text(encoding="utf-8"))) for file in Path(ulsam_viz.ui.__file__).parent.rglob("*.py")
    ]
    calls = [
        (file, node) for file, tree in files for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args
    ]
    messages = [(file, node) for file, node in calls if getattr(node.func, "attr", "") in ("error", "warning", "toast")]
    loose = [f"{file.name}:{node.lineno}" for file, node in messages if not _is_escaped(node.args[0])]
    assert messages
    assert not loose


def _is_escaped(text: ast.expr) -> bool:
    if isinstance(text, ast.JoinedStr):
        return all(
            isinstance(p, ast.Constant)
            or (isinstance(p, ast.FormattedValue) and (p.format_spec or _is_escaped(p.value)))
            for p in text.values
        )
    return isinstance(text, ast.Constant) or (
        isinstance(text, ast.Call) and getattr(text.func, "id", "") == "escape_markdown"
    )


@pytest.mark.parametrize("text", [*SIGNS, HOSTILE, "- a", "1. a", "# a", "a\n\n# b", "_a_ __b__ c_d", "a ` b `` c"])
def test_sentences_in_html_show_what_was_escaped_letter_by_letter(text: str) -> None:
    read = Reader(markdown_to_html(f"*where* {escape_markdown(text)}")).read
    assert read == f"<em>where {' '.join(text.split())}"


def test_what_means_nothing_is_left_as_it_is() -> None:
    plain = "MobileNet-V1 0.5, stop_sign, “espresso”: 84.6 % (± 1.6) at 10:30, cuda:0, 3 - 1 = 2"
    assert escape_markdown(plain) == plain
    assert escape_plotly(plain) == plain
    assert markdown_code(plain) == f"`{plain}`"
