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
# The pages' functions run as part of this script, not as scripts of their own: Streamlit takes what another script's controls
# wrote out of the address when the page changes, and Back would find it gone.
shows = {"Inspect": inspect_page.show, "Compare": compare_page.show, "Learn": learn_page.show, "Evidence": evidence_page.show}
pages = [st.Page(show, title=title, url_path=title.lower(), default=title == "Inspect") for title, show in shows.items()]
shows[st.navigation(pages, position="top").title]()
asked().let_go()  # of what only an earlier run of this visitor's, of this page or another, had asked for
end_page()
