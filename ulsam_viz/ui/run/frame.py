"""What is around every page: its style, its steps in the browser's history, and the choice of a theme."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ..widgets.theme import show_theme
from .pictures import send_pictures_again

_HERE = Path(__file__).parent
_STYLE = """
<style>
.stMainBlockContainer { padding: 3.9rem 1.5rem 3rem; max-width: none; }
[data-testid="stSidebar"] h3 { padding: 0.4rem 0 0; font-size: 1rem; }
:has(> .st-key-history) { display: none; }
:has(> .st-key-theme) { position: fixed; top: 0.7rem; right: 0.8rem; width: auto; z-index: 999991; }
.ulsam-card { font-size: 13px; line-height: 1.55; font-variant-numeric: tabular-nums; }
.ulsam-card td { padding: 1px 14px 1px 0; border: 0; vertical-align: top; }
.ulsam-card td:first-child { opacity: 0.7; white-space: nowrap; }
/* Streamlit's own faded text and the dark theme's primary button have less contrast than WCAG AA asks for. */
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] * { color: inherit !important; }
[data-testid="stCaptionContainer"] { opacity: 0.82; }
[data-testid^="stBaseButton"] kbd { color: inherit !important; opacity: 1 !important; }
[data-testid="stBaseButton-primary"] * { color: light-dark(#ffffff, #12171b) !important; }
.stMarkdown .katex-display { overflow-x: auto; overflow-y: hidden; padding: 2px 0; }
.ulsam-grids { display: flex; flex-wrap: wrap; gap: 14px; }
.ulsam-grid { border-collapse: separate; border-spacing: 2px; font-size: 12px; font-variant-numeric: tabular-nums; }
.ulsam-grid caption { text-align: left; font-size: 12px; padding-bottom: 2px; }
.ulsam-grid caption span { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px; }
.ulsam-grid td { min-width: 44px; height: 30px; text-align: center; border: 0; border-radius: 2px; padding: 0 3px; }
.ulsam-grid td, .ulsam-grid caption span { forced-color-adjust: none; }
:has(> .st-key-pages) { display: none; }
/* Where the system sets its own colours, Streamlit's backgrounds go, and with them what is chosen. */
@media (forced-colors: active) {
  [data-testid="stButtonGroup"] button[data-selected] { forced-color-adjust: none; background: Highlight !important;
  border-color: Highlight !important; }
  [data-testid="stButtonGroup"] button[data-selected] * { color: HighlightText !important; }
  [data-testid="stSlider"] [data-orientation] > div:first-child { outline: 1px solid CanvasText; }
  [data-testid="stSlider"] div:has(> div > input[type="range"]) { outline: 4px solid Highlight; outline-offset: -2px; }
  [data-testid="stCheckbox"] label > span + div { forced-color-adjust: none; background: Canvas;
  outline: 1px solid CanvasText; }
  [data-testid="stCheckbox"] label > span + div > div { background: CanvasText; }
  [data-testid="stCheckbox"] label[data-selected] > span + div { background: Highlight; }
}
@media (max-width: 640px) {
  .stMainBlockContainer { padding: 4.2rem 0.9rem 2rem; }
  /* Streamlit hides both the pages and the controls behind one arrow. */
  :has(> .st-key-pages) { display: flex; }
  .st-key-pages { flex-wrap: nowrap; gap: 0.1rem; }
  [data-testid="stExpandSidebarButton"] { width: auto; }
  [data-testid="stExpandSidebarButton"]::after { content: "Picture, network"; padding: 0 0.4rem; font-size: 13px;
  white-space: nowrap; }
}
</style>
"""


def show_frame() -> None:
    """Begin a run of a page, before anything else is shown."""
    st.html(_STYLE)
    send_pictures_again()
    with st.container(key="history"):  # a script takes no room: the style hides it
        for name in ("history.js", "escape.js"):
            st.html(f"<script>{(_HERE / name).read_text(encoding='utf-8')}</script>", unsafe_allow_javascript=True)
    show_theme()
