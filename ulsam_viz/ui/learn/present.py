"""Present mode: the lesson for a room. No sidebar, large text, arrow keys, answers on demand.

``present=1`` in the address.
"""

from __future__ import annotations

import streamlit as st

from ..run.state import keep

_KEY = "present"
_INK = {"light": ("#000", "#fff"), "dark": ("#fff", "#000")}
_STYLE = """
<style>
[data-testid="stSidebar"], [data-testid="stExpandSidebarButton"], [data-testid="stHeader"] {{ display: none !important;
  }}
.stApp, [data-testid="stSidebar"], .stMainBlockContainer {{ --ulsam-text: 1.667; --ulsam-nav: 1.54; }}
.stApp {{ background: {paper}; color: {ink}; --st-text-color: {ink}; --st-background-color: {paper}; }}
.stMainBlockContainer {{ padding: 1rem 2rem; }}
.stMainBlockContainer :is(p, li, label, td, th, button, summary, .katex-display) {{ font-size: 20px !important;
  line-height: 1.4; }}
.stMainBlockContainer :is([data-testid="stCaptionContainer"], [data-testid="stMarkdownContainer"]):not(button *) {{
  color: {ink} !important; opacity: 1; }}
.stMainBlockContainer h4 {{ font-size: 32px !important; padding: 0; }}
</style>
"""


def presenting() -> bool:
    """Return whether the address asks for present mode."""
    return st.query_params.get(_KEY) == "1"


def style_presentation() -> None:
    """Make the page fit a beamer, where it is to be presented."""
    if presenting():
        ink, paper = _INK["dark" if st.context.theme.type == "dark" else "light"]
        st.html(_STYLE.format(ink=ink, paper=paper))


def offer_presentation() -> None:
    """Show the button that begins or leaves; the key P does either, Esc leaves."""
    if not presenting():
        st.button(
            "Present",
            icon=":material/present_to_all:",
            on_click=_begin,
            shortcut="P",
            help="For a beamer: large, arrow keys walk.",
        )
        return
    st.button("Leave", on_click=_leave, key="leave", help="Esc")
    st.html("<style>.st-key-leave-too { position: absolute; opacity: 0; pointer-events: none; }</style>")
    st.button("Leave", on_click=_leave, shortcut="P", key="leave-too")


def answer_wanted(name: str) -> bool:
    """Offer an answer to a question that a room has not guessed; elsewhere it comes after a guess."""
    return presenting() and st.toggle("Show the answer", key=keep(f"answer-{name}"))


def _begin() -> None:
    st.query_params[_KEY] = "1"


def _leave() -> None:
    st.query_params.pop(_KEY, None)
