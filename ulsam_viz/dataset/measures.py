"""What a table measures of each picture and subspace: names, units and meanings for people."""

from __future__ import annotations

from dataclasses import dataclass

from ..analysis.methods import METHODS


@dataclass(frozen=True)
class Measure:
    """A column of the table.

    Attributes:
        name: Of the column.
        label: For people.
        unit: Behind its values; "" for a plain number.
        factor: What the column's values are multiplied by, to be in that unit.
        help: What it means.
    """

    name: str
    label: str
    unit: str
    factor: float = 1.0
    help: str = ""

    @property
    def title(self) -> str:
        """The label with the unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @property
    def is_share(self) -> bool:
        """Whether it is yes or no for each picture: then only the share of pictures says anything."""
        return self.unit == _OF_PICTURES


_OF_PICTURES = "% of pictures"
_AGREEMENT = "agreement_"
_MEASURES = (
    Measure("peak", "Peak", "× uniform", help="The largest value of the map, in multiples of a uniform map."),
    Measure(
        "area",
        "Effective area",
        "% of places",
        100,
        "exp(entropy) / places: 100 % is uniform, less is more concentrated.",
    ),
    Measure(
        "entropy",
        "Entropy",
        "bits",
        help="Its ceiling is log₂ of the number of places: compare within one layer size only.",
    ),
    Measure("redundancy", "Redundancy", "r", help="Mean correlation with the other maps of the layer."),
    Measure(
        "removed_logit",
        "Effect on the logit",
        "",
        help="Logit after the subspace's attention is taken away, less before.",
    ),
    Measure(
        "removed_probability",
        "Effect on the probability",
        "points",
        100,
        "Probability of the target after the subspace's attention is taken away, less before.",
    ),
    Measure(
        "removed_flips",
        "Answer changes",
        _OF_PICTURES,
        100,
        "Another class is the most probable where it is taken away.",
    ),
    Measure("dead", "Uniform maps", _OF_PICTURES, 100, "The map prefers no place in the picture."),
    Measure("peak_row", "Row of the peak", "", help="Counted from 0 at the top; none where the map is uniform."),
    Measure("peak_column", "Column of the peak", "", help="Counted from 0 at the left; none where the map is uniform."),
)
_BY_NAME = {measure.name: measure for measure in _MEASURES}


def measure_of(column: str) -> Measure | None:
    """Return what a column measures; None for one that is no measure of a subspace."""
    if column.startswith(_AGREEMENT):
        name = column.removeprefix(_AGREEMENT)
        label = METHODS[name].label if name in METHODS else name
        return Measure(
            column, f"Agreement with {label}", "ρ", help="Spearman's rank correlation of the map and the attribution."
        )
    return _BY_NAME.get(column)


def in_order(columns: list[str]) -> list[Measure]:
    """Return the measures among the columns, in the order in which they are offered."""
    known = [measure for column in columns if (measure := measure_of(column))]
    order = list(_BY_NAME)
    place = {m.name: order.index(m.name) if m.name in order else order.index("redundancy") + 0.5 for m in known}
    return sorted(known, key=lambda m: place[m.name])
