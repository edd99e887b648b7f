"""The app: page configuration and navigation only. Run with `streamlit run app.py`."""

import streamlit as st
import torch

from ulsam_viz.ui.compare import page as compare_page
from ulsam_viz.ui.evidence import page as evidence_page
from ulsam_viz.ui.inspect import page as inspect_page
from ulsam_viz.ui.learn import page as learn_page
from ulsam_viz.ui.run.kept import keep_choices
from ulsam_viz.ui.run.page import end_page
from ulsam_viz.ui.run.session import asked

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
