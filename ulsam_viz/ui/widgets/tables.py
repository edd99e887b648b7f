"""Small tables."""

from __future__ import annotations

import html
from collections.abc import Mapping


def table(rows: Mapping[str, str]) -> str:
    """Write rows of names and values as the page's small table."""
    body = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in rows.items()
    )
    return f'<table class="ulsam-card">{body}</table>'
