"""The app, whose Occlusion for noisy pictures a test holds up.

Call n begins when there is a file named n in the folder HELD.
"""

from __future__ import annotations

import os
import runpy
from itertools import count
from pathlib import Path
from typing import Any

from tests.patience import until
from ulsam_viz.analysis.attribution import Attribution, attribute
from ulsam_viz.ui.inspect.questions import robust as examine_robust

_calls = count(1)


def _held(*things: Any, method: str, **settings: Any) -> Attribution:
    if method == "occlusion":
        leave = Path(os.environ["HELD"]) / str(next(_calls))
        until(leave.exists)
    return attribute(*things, method=method, **settings)


if examine_robust.attribute is attribute:  # type: ignore[attr-defined]
    # Streamlit runs this script at each run of the page: only the first one's calls are counted.
    examine_robust.attribute = _held  # type: ignore[attr-defined]
runpy.run_path(str(Path(__file__).parent.parent / "app.py"))
