"""The page "Compare": one picture, many networks: group counts at one position, or positions at one group count."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import streamlit as st

from ...analysis.attention import Attention
from ...engine.engine import DeviceChoice, default_engine
from ...images.preprocessing import ModelInput
from ...text.escaping import escape_markdown
from ...zoo.variants import CheckpointError, Variant, position_name
from ..choose.display import current_view, show_view
from ..choose.ids import choose_by_id
from ..choose.methods import choose_target, target_of
from ..choose.network import choose_device, choose_variant
from ..choose.own import show_own_network
from ..choose.picture import choose_picture, model_input
from ..run.interrupt import result_of
from ..run.page import open_page
from ..run.pause import let_the_browser_draw
from ..run.requests import say_where
from ..run.scene import Picture
from ..run.session import visitor
from ..widgets.strip import show_strip
from .lattice import Row, show_lattice
from .modules import modules_to_compare, show_modules
from .numbers import show_numbers
from .two import choose_second, show_two

_GROUP_COUNTS, _POSITIONS, _TWO, _MODULES = "groups", "positions", "two", "modules"
_WAYS = {_GROUP_COUNTS: "Group counts", _POSITIONS: "Positions", _TWO: "Two side by side", _MODULES: "Other modules"}
#: What has no effect on a way of comparing, is not in sight there.
_WITHOUT = {_GROUP_COUNTS: "g", _POSITIONS: "position", _TWO: "", _MODULES: "position"}
# The picture stays in sight while the page scrolls below it: what sticks is the wrapper that Streamlit lays around a
# container, for the container itself fills its wrapper and has nowhere to go. The theme's colours are no variables
# outside of components.
_STYLE = """
<style>
.st-key-compare {{ gap: 0.5rem; }}
.st-key-lattice {{ gap: 0.25rem; }}
.st-key-lattice [data-testid="stHorizontalBlock"] {{ gap: 0.5rem 0.75rem; }}
:has(> .st-key-compare-head) {{ position: sticky; top: 3.7rem; z-index: 90; padding-bottom: 4px;
  background: {background}; }}
@media (max-width: 640px) {{
  .st-key-compare-head, :has(> .st-key-compare-head) {{ display: contents; }}
  .st-key-sides [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"]) {{ flex-wrap: nowrap; gap: 0.5rem; }}
  .st-key-sides [data-testid="stColumn"] {{ min-width: 0; }}
  .st-key-compare-head > * {{ flex: none !important; }}  /* their widths would be heights here */
  :has(> .st-key-compare-picture) {{ position: sticky; top: 3.7rem; z-index: 90; background: {background}; }}
}}
</style>
"""


def show() -> None:
    """Draw the page."""
    everything = open_page("compare")
    st.html(
        _STYLE.format(background=st.get_option(f"theme.{st.context.theme.type or 'light'}.backgroundColor") or "Canvas")
    )
    with st.container(key="compare"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="compare-head"):
            strip = st.container(width="stretch", key="compare-picture")
            way = choose_by_id(st.segmented_control, "Compare", _WAYS, key="way", required=True)
            current_view()
            with st.container(width=76):
                show_view(blend=False)
        with st.container(key="sides"):
            sides = st.columns(2, gap="medium") if way == _TWO else None
        with st.sidebar:
            picture = choose_picture()
            place = sides[0].container(horizontal=True) if sides else None
            chosen = choose_variant(everything, place=place, without=_WITHOUT[way])
            show_own_network()
            second = choose_second(everything, chosen, sides[1].container(horizontal=True)) if sides else None
            device = choose_device()
        modules = modules_to_compare(everything, chosen.groups) if way == _MODULES else []
        crop = model_input(picture, (modules[0] if modules else chosen).preprocessing)
        with strip:
            _show_picture(picture, crop, chosen, way)
        if second and sides:
            show_two(sides, (picture, crop, chosen), second, device)
        elif way == _MODULES:
            if modules:
                show_modules(modules, crop, device)
            else:
                st.info("No networks with other modules are here.")
        elif way == _GROUP_COUNTS and not chosen.placement:
            st.info("The plain control carries no attention: choose a position to compare group counts there.")
        else:
            _show_many(
                _variants(everything, chosen, by_groups=way == _GROUP_COUNTS),
                crop,
                device,
                by_groups=way == _GROUP_COUNTS,
            )


def _show_picture(picture: Picture, crop: ModelInput, chosen: Variant, way: str) -> None:
    where = {_GROUP_COUNTS: f", {position_name(chosen)}", _POSITIONS: f", g = {chosen.groups}", _TWO: "", _MODULES: ""}[
        way
    ]
    show_strip(
        picture.name,
        crop,
        "ULSAM and other modules" if way == _MODULES else f"{chosen.label}{where if chosen.placement else ''}",
        f"It knows {chosen.knows}. The networks were trained separately, so their maps need not agree.",
        [],
        key="answer",
        on_target=lambda: None,
    )


def _show_many(variants: Sequence[Variant], crop: ModelInput, device: DeviceChoice, *, by_groups: bool) -> None:
    """Show the maps first, as soon as they are there; what takes longer stands below and comes later."""
    rows, futures = _attend(variants, crop, device, by_groups=by_groups)
    placed = next(row for row in rows if row.layer is not None)
    with st.container(key="lattice"):
        show_lattice(rows, crop, by_groups=by_groups)
    say_where(futures, device)
    let_the_browser_draw()
    # One target for all, so that their numbers compare: the wish, or what the first network with attention says.
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.markdown("**In numbers**")
        with st.container(width=260):
            wished = choose_target(placed.variant)
    target = target_of(wished, placed.seen)
    show_numbers(rows, crop, target, device)


def _variants(everything: Sequence[Variant], chosen: Variant, *, by_groups: bool) -> list[Variant]:
    """Return the control, and all g at the chosen position or all positions at the chosen g."""
    own = [v for v in everything if v.family == chosen.family]
    if by_groups:
        return [v for v in own if v.placement is None or position_name(v) == position_name(chosen)]
    return [v for v in own if v.placement is None or v.groups == chosen.groups]


def _attend(
    variants: Sequence[Variant], crop: ModelInput, device: DeviceChoice, *, by_groups: bool
) -> tuple[list[Row], list[Future[Attention]]]:
    """Run all networks at once, as cores allow; a damaged one is said and left out."""
    engine = default_engine()
    futures = {v.name: engine.attend(crop, v, device.device, visitor=visitor()) for v in variants}
    seen: dict[str, Attention] = {}
    with st.spinner(f"{len(variants)} networks look at the picture"):
        for name, future in futures.items():
            try:
                seen[name] = result_of(future)
            except CheckpointError as error:
                st.warning(escape_markdown(str(error)))
    whole = [v for v in variants if v.name in seen]
    if not any(v.placement for v in whole):
        st.stop()  # each one's reason stands above
    rows = []
    for v in whole:
        layers: list[int | None] = [*v.placement.layers] if v.placement else [None]
        for layer in layers:
            label = "control" if layer is None else f"g = {v.groups}" if by_groups else position_name(v)
            rows.append(Row(label, v, layer, seen[v.name]))
    if by_groups:  # of several layers, each has a lattice of its own
        rows.sort(key=lambda row: row.layer or 0)
    return rows, list(futures.values())
