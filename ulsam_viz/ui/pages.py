"""The pages, and what each run of one begins and ends with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError

# Plotly looks at pandas wherever it finds it, in a thread too in which another has only begun to import it: two first visitors
# of a server would meet an error. Here the import is whole before any page draws.
import pandas  # noqa: F401
import streamlit as st
import torch

from ..engine import TooMuchError
from .compare import page as compare
from .dataset import page as dataset
from .evidence import page as evidence
from .inspect import page as inspect
from .learn import page as learn
from .run.address import read_address
from .run.interrupt import run_again
from .run.kept import keep_choices
from .run.page import end_page, say_full
from .run.session import asked, is_full, is_there

_SHOWS: dict[str, Callable[[], None]] = {
    "Inspect": inspect.show,
    "Compare": compare.show,
    "Learn": learn.show,
    "Evidence": evidence.show,
    "Dataset": dataset.show,
}


def show_page(title: str) -> None:
    """Run a page."""
    torch.set_num_threads(1)  # for each computation: the engine runs as many at once as there are cores
    read_address()
    keep_choices()
    if is_full():
        say_full()
    else:
        with asked().run():
            try:
                _SHOWS[title]()
            except TooMuchError as error:
                st.error(str(error), icon=":material/hourglass_empty:")
            except CancelledError:  # the engine was told that nobody waits
                if is_there():
                    run_again()  # the visitor was away for a moment: the page asks again
                st.stop()
    end_page()
