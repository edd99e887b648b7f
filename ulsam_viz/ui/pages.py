"""The pages, and what each run of one begins and ends with."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .compare import page as compare
from .dataset import page as dataset
from .evidence import page as evidence
from .inspect import page as inspect
from .learn import page as learn
from .run.kept import keep_choices
from .run.page import end_page
from .run.session import asked

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
    keep_choices()
    with asked().run():
        _SHOWS[title]()
    end_page()
