"""Run one page, with what every page begins and ends with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from importlib import import_module

# Plotly looks at pandas wherever it finds it, in a thread too in which another has only begun to import it: two first
# visitors of a server would meet an error. Here the import is whole before any page draws.
import pandas  # noqa: F401
import streamlit as st
import torch

from ..engine.engine import TooMuchError
from ..text.escaping import escape_markdown
from .navigation import TITLES
from .run.address import read_address
from .run.interrupt import run_again
from .run.page import end_page, say_full
from .run.session import is_full, is_there, pending
from .run.state import keep_choices

# Each page is `show` of the module `page` in the folder of its title.
_SHOWS: dict[str, Callable[[], None]] = {
    title: import_module(f".{title.lower()}.page", __package__).show for title in TITLES
}


def show_page(title: str) -> None:
    """Run a page."""
    torch.set_num_threads(1)  # for each computation: the engine runs as many at once as there are cores
    read_address()
    keep_choices()
    if is_full():
        say_full()
    else:
        with pending().run():
            try:
                _SHOWS[title]()
            except TooMuchError as error:
                st.error(escape_markdown(str(error)), icon=":material/hourglass_empty:")
            except CancelledError:  # the engine was told that nobody waits
                if is_there():
                    run_again()  # the visitor was away for a moment: the page asks again
                st.stop()
    end_page()
