"""The app: page configuration and navigation only. Run with `streamlit run app.py`."""

import streamlit as st

from ulsam_viz.paths import ASSETS
from ulsam_viz.ui.first_view import is_first_view, show_first_view
from ulsam_viz.ui.navigation import app_pages, current_title
from ulsam_viz.ui.run.interrupt import run_again
from ulsam_viz.ui.run.uploads import ask_no_host, keep_off_disks


def main() -> None:
    """Run one page, once."""
    keep_off_disks()
    ask_no_host()
    st.set_page_config(
        page_title="ulsam_viz: see subspace attention", page_icon=str(ASSETS / "logo.svg"), layout="wide"
    )
    title = current_title()
    with st.container(horizontal=True, key="pages"):  # on a phone, see the page's style
        for page in app_pages():
            st.page_link(page)
    # Asked on every page: who comes to this one later has not just opened the app
    first = is_first_view() and title == "Inspect"
    if first:
        show_first_view()

    from ulsam_viz.ui.run_page import show_page  # and with it torch, which takes seconds

    if first:
        run_again()
    show_page(title)


main()
