"""What a visitor chose stays while another page, without the control, is shown."""

from __future__ import annotations

import streamlit as st


def keep(key: str) -> str:
    """Keep what a control with this key is set to; call it where the control is made.

    Only for controls whose state may be set: no buttons, charts, editors or uploads.
    """
    st.session_state.setdefault("kept", set()).add(key)
    return key


def keep_choices() -> None:
    """Keep the state of all controls for the next run: Streamlit drops that of controls that are not shown."""
    for key in st.session_state.get("kept", ()):
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]
