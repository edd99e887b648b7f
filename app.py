"""The app: page configuration and navigation only. Run with `streamlit run app.py`."""

import streamlit as st

from ulsam_viz.ui import inspect_page

st.set_page_config(page_title="ulsam_viz: see subspace attention", page_icon="assets/logo.svg", layout="wide")
st.navigation([st.Page(inspect_page.show, title="Inspect", url_path="inspect", default=True)], position="top").run()
