"""Paths of the program's own files: beside the package in a checkout, inside it where it was installed."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path


def find_home(package: Path) -> Path:
    """Find the folder that holds ``app.py``, ``assets/``, ``checkpoints/`` and ``.streamlit/``.

    Args:
        package: The folder of this package.

    Returns:
        The checkout that the package lies in, else its folder ``shipped``, which a wheel fills with the same files
        (``pyproject.toml``).
    """
    # A file that is ours alone: folders named "assets" lie beside installed packages too.
    checkout = package.parent
    return checkout if (checkout / "assets" / "samples.json").is_file() else package / "shipped"


HOME = find_home(Path(__file__).resolve().parent)
APP = HOME / "app.py"
ASSETS = HOME / "assets"
CHECKPOINTS = HOME / "checkpoints"
_PROGRAM = "ulsam-viz"


def program() -> str:
    """Return the command line's name: ``ulsam-viz`` where it is installed, ``python -m ulsam_viz`` in a checkout."""
    called = Path(sys.argv[0])
    if called.stem == _PROGRAM:
        return _PROGRAM
    as_module = called.name == "__main__.py" and called.parent.name == __package__
    installed = shutil.which(_PROGRAM, path=sysconfig.get_path("scripts")) or shutil.which(_PROGRAM)
    return _PROGRAM if installed and not as_module else f"python -m {__package__}"
