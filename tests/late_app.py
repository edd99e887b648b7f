"""The app, whose pages a test holds up: they are imported when there is a file LATE."""

from __future__ import annotations

import os
import runpy
import sys
import time
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any


class _Late(MetaPathFinder):
    def find_spec(self, name: str, *_: Any) -> None:
        while name == "ulsam_viz.ui.pages" and not Path(os.environ["LATE"]).exists():
            time.sleep(0.02)


if "ulsam_viz.ui.pages" not in sys.modules:
    sys.meta_path.insert(0, _Late())
runpy.run_path(str(Path(__file__).parent.parent / "app.py"))
