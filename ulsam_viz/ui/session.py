"""Who is looking: what tells one visitor from another."""

from __future__ import annotations

from streamlit.runtime.scriptrunner import get_script_run_ctx


def visitor() -> str:
    """Return the id of the visitor's session, for fair turns at the engine; empty outside of one."""
    context = get_script_run_ctx(suppress_warning=True)
    return context.session_id if context else ""
