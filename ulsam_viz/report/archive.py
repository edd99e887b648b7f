"""A report as a ZIP file for a paper: figures, numbers, settings, what to cite, and the document."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from .citation import bibtex
from .contact_sheet import as_image, file_name
from .document import as_html
from .numbers import LARGEST, as_csv
from .record import Report

KINDS = (".html", ".zip")
#: Said wherever files are taken along.
HOLDS_PICTURE = "These files hold the picture: whoever gets them sees it."
_README = """\
{title}
{picture}

{holds} {source}

report.html     everything to read and to print
input.png       the very pixels that the network saw
sheet.png       the picture, all maps and attributions on one sheet
figures/        the picture, each map and each attribution as PNG and SVG, with its scale
numbers.npz     all numbers for numpy.load; its entry "settings" says what made them
csv/answers.csv       every class with its logit and probability
csv/measures.csv      a row for each subspace: area (share), peak (times uniform) with its row and column, entropy (bits),
                      redundancy (mean correlation with the layer's other maps), rank correlation with each attribution; and,
                      where it was asked, what removing it does to the target's logit, its probability (share) and the answer
csv/maps.csv          every map, place by place; each map sums to 1
csv/attributions.csv  every attribution, pixel by pixel
csv/asked.csv         what was asked about the view: keys are those of numbers.npz and settings.json; places in arrays count
                      from 0; arrays of more than {largest:,} numbers are in numbers.npz alone
settings.json   network, methods, scale, versions, address, command
citation.bib    what to cite

Layers have the paper's numbers, subspaces count from 1, rows and columns from 0.
The same numbers again:

    {command}
{command_note}
"""


def as_zip(report: Report, folder: str) -> bytes:
    """Write a report as a ZIP file; the same report gives the same bytes.

    Args:
        report: The report.
        folder: Name of the one folder that it holds.
    """
    sheet, arrays = report.sheet, dict[str, np.ndarray]()
    settings = json.dumps(report.settings(report.found(arrays)), indent=1, ensure_ascii=False) + "\n"
    files = {
        "README.txt": as_bytes(_readme(report)),
        "report.html": as_bytes(as_html(report)),
        "input.png": as_image(sheet.pixels),
        "sheet.png": sheet.png(display=report.display, scale=report.scale, address=report.address),
        "numbers.npz": report.npz(),
        "settings.json": as_bytes(settings),
        "citation.bib": bibtex().encode(),
        **{f"figures/{n}": data for n, data in sheet.pictures(display=report.display, scale=report.scale).items()},
        **{f"csv/{n}": data for n, data in as_csv(report).items()},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(f"{file_name(folder)}/{name}")  # of 1980: no file tells when it was made
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def as_bytes(text: str) -> bytes:
    """Encode a text; what of a file's name is no text becomes a question mark."""
    return text.encode("utf-8", "replace")


def _readme(report: Report) -> str:
    return _README.format(
        title=report.sheet.title,
        picture=report.sheet.picture,
        holds=HOLDS_PICTURE,
        source=report.source,
        largest=LARGEST,
        command=report.command.replace("\n", "\n    "),
        command_note=report.command_note,
    )


def write_report(report: Report, path: Path) -> Path:
    """Write a report to a file: an HTML document or a ZIP archive, as its name ends; a file of that name is replaced.

    Raises:
        ValueError: If it ends otherwise.
        OSError: If it cannot be written; it names this file, whichever step failed.
    """
    if path.suffix.lower() not in KINDS:
        raise ValueError(
            f"a report is a file that ends in {' or '.join(KINDS)}, not '{path.name}'; the HTML prints to PDF"
        )
    data = as_zip(report, path.stem) if path.suffix.lower() == ".zip" else as_bytes(as_html(report))
    beside = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)  # what was there stays whole until this is
        beside.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    return path
