"""The app, whose runs for MobileNet-V2 a test holds up before they read their address: until there is a file "go" in the folder HELD."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext

from tests.patience import until

FOLDER = Path(os.environ["HELD"])
LATER = "position=after+4"  # what is asked for meanwhile


def _held(self: ScriptRunContext, query_string: str = "", *args: Any, **kwargs: Any) -> None:
    if "net=V2" in query_string:
        (FOLDER / "held").touch()
        until((FOLDER / "go").exists)
    _reset(self, query_string, *args, **kwargs)


if ScriptRunContext.reset.__name__ != _held.__name__:
    # Streamlit runs this script at each run of the page.
    _reset = ScriptRunContext.reset
    ScriptRunContext.reset = _held  # type: ignore[method-assign]
context = get_script_run_ctx()
if context and LATER in context.query_string:
    until((FOLDER / "go").exists)
runpy.run_path(str(Path(__file__).parent.parent / "app.py"))
