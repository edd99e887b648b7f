"""The app, held up by a test at HOLD until there is a file "go" in the folder HELD; a file "held" says that it is.

address    the runs for MobileNet-V2, before they read their address
pass       all passes through networks
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext

from tests.patience import until
from ulsam_viz.analysis.attention import attend
from ulsam_viz.engine import engine

FOLDER, HOLD = Path(os.environ["HELD"]), os.environ["HOLD"]
LATER = "position=after+4"  # what is asked for meanwhile
_reset = ScriptRunContext.reset


def _wait() -> None:
    (FOLDER / "held").touch()
    until((FOLDER / "go").exists)


def _held_pass(*args: Any, **settings: Any) -> Any:
    _wait()
    return attend(*args, **settings)


def _held_run(self: ScriptRunContext, query_string: str = "", *args: Any, **settings: Any) -> None:
    if "net=V2" in query_string:
        _wait()
    _reset(self, query_string, *args, **settings)


# Streamlit runs this script at each run of the page.
if HOLD == "pass" and engine.attend is attend:  # type: ignore[attr-defined]
    engine.attend = _held_pass  # type: ignore[attr-defined]
if HOLD == "address" and _reset.__name__ != _held_run.__name__:
    ScriptRunContext.reset = _held_run  # type: ignore[method-assign]
context = get_script_run_ctx()
if HOLD == "address" and context and LATER in context.query_string:
    until((FOLDER / "go").exists)
runpy.run_path(str(Path(__file__).parent.parent / "app.py"))
