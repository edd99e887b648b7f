"""A picture that is pasted, anywhere on the page: the hint that says so, and what listens for it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from ...images.preprocessing import MAX_BYTES, ImageError

_HERE = Path(__file__).parent


@st.cache_resource
def _component() -> Any:
    return st.components.v2.component(
        "ulsam_viz_paste",
        html='<div class="paste">or paste (Ctrl+V)</div>',
        css=".paste { font: 13px var(--st-font); color: var(--st-text-color); opacity: 0.75; white-space: nowrap; }",
        js=(_HERE / "paste.js").read_text(encoding="utf-8"),
    )


def show_paste(on_paste: Callable[[], None]) -> None:
    """Show the hint, and call back, before the page runs again, when a picture was pasted: :func:`pasted` reads it."""
    _component()(data={"most": MAX_BYTES}, key="paste", width="content", on_pasted_change=on_paste)


def pasted(report: Any) -> bytes:
    """Return the file that was pasted.

    Args:
        report: What the browser sent, ``st.session_state["paste"].pasted``; it may be anything.

    Raises:
        ImageError: If it is too large, or no report of a file.
    """
    sent, size = (report.get("data"), report.get("size")) if isinstance(report, dict) else (None, None)
    large = isinstance(sent, str) and len(sent) > 4 * (MAX_BYTES // 3 + 1)
    if large or (isinstance(size, int | float) and size > MAX_BYTES):
        raise ImageError(f"The pasted picture is too large; at most {MAX_BYTES // 10**6} MB can be read.")
    try:
        return base64.b64decode(sent, validate=True)  # type: ignore[arg-type]
    except (TypeError, ValueError, binascii.Error) as error:
        raise ImageError(
            "What was pasted did not arrive as a picture; paste it again, or upload it as a file."
        ) from error
