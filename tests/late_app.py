"""The app, whose pages a test holds up: they are imported when there is a file LATE."""

from __future__ import annotations

import os
import runpy
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

from tests.patience import until


class _Late(MetaPathFinder):
    def find_spec(self, name: str, *_: Any) -> None:
        if name == "ulsam_viz.ui.run_page":
            until(Path(os.environ["LATE"]).exists)


if "ulsam_viz.ui.run_page" not in sys.modules:
    sys.meta_path.insert(0, _Late())
runpy.run_path(str(Path(__file__).parent.parent / "app.py"))
