"""The results of a view as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from ...analysis.attribution import Attribution
from ...questions.view import Topic, asked_by, other_of
from ...report.archive import HOLDS_PICTURE, as_bytes, as_zip
from ...report.contact_sheet import file_name
from ...report.document import as_html
from ...report.record import Report, command_note_of, command_of, complete, record_of
from ...report.result import Sheet
from ..run.address import this_view
from ..run.requests import asked_of, examined
from ..run.scene import Scene, network_name, pretty


def show_downloads(scene: Scene, attributions: Mapping[str, Attribution]) -> None:
    """Offer the view as a picture and as numbers; a file is made only when it is asked for."""
    st.markdown("**Take it with you**")
    found, address = examined(scene), this_view()  # taken here: a file is made in a thread that belongs to no session
    stem = f"{scene.variant.name}-{file_name(scene.picture.name)[:40]}"

    def report() -> Report:
        return _report(scene, attributions, found, address)

    files: list[tuple[str, str, str, Callable[[], bytes]]] = [
        ("Report (HTML)", f"{stem}.html", "text/html", lambda: as_bytes(as_html(report()))),
        ("Archive for papers (ZIP)", f"{stem}.zip", "application/zip", lambda: as_zip(report(), stem)),
        ("Picture (PNG)", f"{stem}.png", "image/png", lambda: _png(scene, attributions, address)),
        ("Numbers (NPZ)", f"{stem}.npz", "application/octet-stream", lambda: report().npz()),
    ]
    with st.container(horizontal=True):
        for label, name, mime, make in files:
            st.download_button(label, make, name, mime, on_click="ignore", icon=":material/download:")
    note = "This address restores the view, "
    note += (
        "your own picture only while you are here and ten minutes more, for whoever has the address."
        if scene.picture.sample is None
        else "picture included."
    )
    st.caption(
        "The report is one file to read and to print; the archive holds it, each map as PNG and SVG, all numbers "
        f"(NPZ, CSV), the settings and BibTeX. What you asked about the view is in both. {HOLDS_PICTURE} {note}"
    )


def sheet_of(scene: Scene, attributions: Mapping[str, Attribution]) -> Sheet:
    """Return what a view shows."""
    return Sheet(
        network_name(scene.variant),
        scene.variant.name,
        scene.picture.name,
        scene.crop.pixels,
        [pretty(name) for name in scene.variant.classes],
        scene.attention.logits,
        scene.attention.probabilities,
        scene.target,
        scene.attention.maps,
        dict.fromkeys(scene.attention.maps, scene.variant.gain),
        attributions,
    )


def _png(scene: Scene, attributions: Mapping[str, Attribution], address: str) -> bytes:
    return sheet_of(scene, attributions).png(display=scene.view.display, scale=scene.view.scale, address=address)


def _report(scene: Scene, attributions: Mapping[str, Attribution], found: Mapping[Topic, Any], address: str) -> Report:
    variant, sample = scene.variant, scene.picture.sample
    note = "input.png is the picture at the top of this report: save it, or take it from the archive."
    note = command_note_of(variant, picture=note)
    questions, all_of_them = asked_by(found, asked_of(scene, attributions))
    if not all_of_them:
        note += " Other questions are asked on the page."
    return Report(
        sheet_of(scene, attributions),
        record_of(variant),
        variant.classes,
        {
            "methods": complete({name: scene.methods[name] for name in attributions}),
            "seed": 0,
            "device": scene.device.device,
        },
        command_of(
            "input.png",
            variant,
            {m: scene.methods[m] for m in attributions},
            scene.target,
            ask=questions,
            other=other_of(found),
            cropped=variant.preprocessing.crop < 1,  # or its centre would be cut out of the crop again
        ),
        note,
        address,
        f"{sample.source}; {sample.licence}." if sample else "",
        scene.view.display,
        scene.view.scale,
        found,
        variant.calibration.temperature,
    )
