"""The app: page configuration and navigation only. Run with `streamlit run app.py`."""

import streamlit as st
import torch

from ulsam_viz.ui import compare_page, evidence_page, inspect_page, learn_page
from ulsam_viz.ui.controls import keep_choices
from ulsam_viz.ui.page import end_page
from ulsam_viz.ui.session import asked

torch.set_num_threads(1)  # for each computation: the engine runs as many at once as there are cores
st.set_page_config(page_title="ulsam_viz: see subspace attention", page_icon="assets/logo.svg", layout="wide")
keep_choices()
pages = [
    st.Page(inspect_page.show, title="Inspect", url_path="inspect", default=True),
    st.Page(compare_page.show, title="Compare", url_path="compare"),
    st.Page(learn_page.show, title="Learn", url_path="learn"),
    st.Page(evidence_page.show, title="Evidence", url_path="evidence"),
]
st.navigation(pages, position="top").run()
asked().let_go()  # of what only an earlier run of this visitor's, of this page or another, had asked for
end_page()
