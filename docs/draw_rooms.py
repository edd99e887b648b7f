"""Draw the package's rooms (folders) and their imports: ``python docs/draw_rooms.py`` writes rooms.svg and a table."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "ulsam_viz"
_BEGIN, _END = "<!-- rooms -->", "<!-- /rooms -->"
_ENTRIES = ("__init__", "__main__")  # of the package itself: names that lead into the rooms

Arrows = Mapping[str, frozenset[str]]


def read_arrows(package: Path = PACKAGE) -> dict[str, frozenset[str]]:
    """Return for each room the rooms that it imports, in functions too.

    Imports for type checkers alone are left out.
    """
    found: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        room = _room_of(path, package)
        if room not in _ENTRIES:
            found.setdefault(room, set()).update(_room_of(target, package) for target in _imports(path, package))
    return {room: frozenset(targets - {room, *_ENTRIES}) for room, targets in found.items()}


def _room_of(path: Path, package: Path) -> str:
    """Return the folder of a module, or the name of a module that lies in none.

    The folders in `ui` are rooms of their own.
    """
    folder, *rest = path.relative_to(package).with_suffix("").parts
    return f"{folder}/{rest[0]}" if folder == "ui" and len(rest) > 1 else folder


def _imports(path: Path, package: Path) -> Iterator[Path]:
    """Yield the files of the package that a module imports."""
    home = path.relative_to(package).parent.parts
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package.joinpath(*home[: len(home) - node.level + 1], *(node.module or "").split("."))
            yield from filter(None, (_file(base / alias.name) or _file(base) for alias in node.names))


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes of a module but those below ``if TYPE_CHECKING:``."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield child
            yield from _nodes(child)


def _file(module: Path) -> Path | None:
    candidates = (module.with_name(f"{module.name}.py"), module / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def floors_of(arrows: Arrows) -> dict[str, int]:
    """Return each room's floor: one above the highest room that it imports; rooms that import each other share one."""
    reached = {room: _reached(room, arrows) for room in arrows}
    circles = {
        room: frozenset({room} | {other for other in reached[room] if room in reached[other]}) for room in arrows
    }
    floors: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in floors:
            below = {target for member in circles[room] for target in arrows[member]} - circles[room]
            floors.update(dict.fromkeys(circles[room], 1 + max(map(floor, below), default=-1)))
        return floors[room]

    return {room: floor(room) for room in arrows}


def _reached(room: str, arrows: Arrows) -> set[str]:
    reached, waiting = set[str](), [room]
    while waiting:
        new = arrows[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def table_of(arrows: Arrows, package: Path = PACKAGE) -> str:
    """Write a row for each room, the highest floor first: what it is by its docstring, and what it imports."""
    floors = floors_of(arrows)
    rows = ["| floor | room | what it is | imports |", "|---|---|---|---|"]
    for room in sorted(arrows, key=lambda room: (-floors[room], room)):
        path = _file(package / room)
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path else None
        summary = (text or "").split("\n")[0].replace("|", "\\|")
        rows.append(f"| {floors[room]} | `{room}` | {summary} | {', '.join(sorted(arrows[room]))} |")
    total = f"{len(arrows)} rooms on {len(set(floors.values()))} floors, {sum(map(len, arrows.values()))} arrows."
    return "\n".join([total, "", *rows])


def with_table(text: str, table: str) -> str:
    """Return a document with the table between its marks."""
    head, _, rest = text.partition(_BEGIN)
    return f"{head}{_BEGIN}\n\n{table}\n\n{_END}{rest.partition(_END)[2]}"


def without_implied(arrows: Arrows) -> dict[str, frozenset[str]]:
    """Return arrows without those that a longer way implies: a -> c, where a -> b and b -> c."""
    reached = {room: _reached(room, arrows) for room in arrows}

    def implied(room: str, target: str) -> bool:
        others = (other for other in arrows[room] - {target} if room not in reached[other])
        return any(target in reached[other] and other not in reached[target] for other in others)

    return {room: frozenset(t for t in targets if not implied(room, t)) for room, targets in arrows.items()}


def draw(arrows: Arrows, file: Path) -> None:
    """Draw rooms as boxes on their floors and imports as arrows, red between rooms that import each other."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    floors = floors_of(arrows)
    places: dict[str, tuple[float, float]] = {}
    for floor in sorted(set(floors.values())):
        rooms = sorted(room for room in arrows if floors[room] == floor)
        width = 12 / len(rooms)
        places |= {room: ((i + 0.5) * width, 1.1 * floor) for i, room in enumerate(rooms)}
    with matplotlib.rc_context({"svg.hashsalt": "rooms", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(12, 1 + 0.75 * len(set(floors.values()))), layout="constrained")
        axes.set(xlim=(0, 12), ylim=(-0.6, max(y for _, y in places.values()) + 0.6))
        axes.axis("off")
        for room, targets in without_implied(arrows).items():
            for target in sorted(targets):
                circle = floors[room] == floors[target]
                line = {"arrowstyle": "->", "color": "#c62828" if circle else "#90a4ae", "lw": 1.4 if circle else 0.7}
                line |= {"shrinkA": 11, "shrinkB": 11, "connectionstyle": "arc3,rad=0.08"}
                axes.annotate("", places[target], places[room], arrowprops=line, zorder=1)
        for room, (x, y) in places.items():
            box = {"boxstyle": "round,pad=0.45", "facecolor": "#e3f2fd", "edgecolor": "#1565c0"}
            axes.text(x, y, room, ha="center", va="center", bbox=box, zorder=2)
        figure.savefig(file, metadata={"Date": None}, facecolor="white")
        pyplot.close(figure)


def main() -> None:
    """Draw the picture, and write the table."""
    arrows, document = read_arrows(), DOCS / "design.md"
    draw(arrows, DOCS / "rooms.svg")
    document.write_text(with_table(document.read_text(encoding="utf-8"), table_of(arrows)), encoding="utf-8")


if __name__ == "__main__":
    main()
