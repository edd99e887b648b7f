"""What a table shows, summed up: as numpy alone says, and judged on both sides of each border."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.tables import table_of_samples
from ulsam_viz.dataset.opened import open_folder
from ulsam_viz.dataset.table import Table
from ulsam_viz.dataset.views import MeanMaps, Selectivity, apart, extremes, mean_maps, selectivity, spread_of
from ulsam_viz.dataset.words import CENTRED, LEAST, MOSTLY, said_of_classes, said_of_mean_maps

_SAMPLES = 7


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return open_folder(
        table_of_samples(tmp_path_factory.mktemp("table"), "seven", _SAMPLES, "mobilenet_v1-0.5-after11-g4")
    )


def test_spreads_and_extremes_are_numpys_and_leave_out_what_is_unknown() -> None:
    values = np.random.default_rng(2).normal(size=(50, 3)).astype(np.float32)
    values[:20, 1] = np.nan
    values[:, 2] = np.nan
    found = spread_of(values)
    for k in (0, 1):
        assert found.quantiles[:, k] == pytest.approx(np.nanpercentile(values[:, k], [5, 25, 50, 75, 95]), rel=1e-5)
        assert found.mean[k] == pytest.approx(np.nanmean(values[:, k]), abs=1e-6)
    assert found.known.tolist() == [50, 30, 0] and np.isnan(found.quantiles[:, 2]).all() and np.isnan(found.mean[2])
    most, least = extremes(values[:, 1], 4)
    order = np.argsort(values[20:, 1]) + 20
    assert least == order[:4].tolist() and most == order[::-1][:4].tolist()
    assert extremes(values[:, 2], 4) == ([], [])
    most, least = extremes(np.array([3.0, 1.0, 2.0], np.float32), 4)
    assert most == [0, 2] and least == [1]  # each once


def test_of_too_many_points_those_stay_that_lie_apart() -> None:
    random = np.random.default_rng(4)
    x, y = random.normal(size=(2, 20_000)).astype(np.float32)
    x[7], y[11], x[13] = 40, -40, np.nan
    shown = apart(x, y, 4000)
    assert 3000 < len(shown) <= 4000 and {7, 11} <= {*shown.tolist()} and 13 not in shown
    assert np.array_equal(shown, np.unique(shown))  # in their order, none twice
    alone = (np.abs(x) > 3.5) & (np.abs(y) > 1)
    assert set(np.flatnonzero(alone)) <= {*shown.tolist()}  # no outlier is lost
    assert np.array_equal(apart(x, y, 20_000), np.delete(np.arange(20_000), 13))
    assert apart(np.ones(100), np.ones(100), 4).tolist() == [0]
    assert len(apart(np.full(3, np.nan), np.ones(3), 4)) == 0


def test_selectivity_is_eta_squared_and_its_chance_that_of_shuffled_classes() -> None:
    rng = np.random.default_rng(3)
    folders = np.repeat([f"class{i:02d}" for i in range(10)], 30)
    values = rng.normal(size=(300, 3))
    values[:, 1] += np.repeat(np.arange(10), 30)  # depends on the class
    values[::7, 0] = np.nan
    values[:, 2] = 4.0
    found = selectivity(values.astype(np.float32), folders.tolist())
    assert found
    for k in (0, 1):
        own, names = values[~np.isnan(values[:, k]), k], folders[~np.isnan(values[:, k])]
        means = {name: own[names == name].mean() for name in found.classes}
        between = sum((names == name).sum() * (m - own.mean()) ** 2 for name, m in means.items())
        assert found.explained[k] == pytest.approx(between / ((own - own.mean()) ** 2).sum(), rel=1e-4)
        assert found.means[:, k] == pytest.approx([means[c] for c in found.classes], rel=1e-4)
    assert np.isnan(found.explained[2]) and found.classes[int(found.best[1])] == "class09"
    assert found.explained[0] < found.chance < found.explained[1]
    assert selectivity(values, ["one"] * 300) is None and selectivity(values, [None] * 300) is None
    # A class of one picture is left out, and its picture with it.
    assert selectivity(values, ["alone", *folders[1:].tolist()]).classes == found.classes  # type: ignore[union-attr]


def test_by_chance_few_tables_have_a_subspace_beyond_chance() -> None:
    rng = np.random.default_rng(4)
    folders = np.repeat([f"c{i}" for i in range(5)], 12).tolist()
    beyond = 0
    for i in range(40):
        found = selectivity(rng.normal(size=(60, 16)), folders, seed=i)
        assert found
        beyond += bool((found.explained > found.chance).any())
    assert beyond <= 8  # 2 of 40 are expected; with a level for each subspace alone it would be about 22


def test_mean_maps_are_numpys_and_say_how_much_is_the_same(table: Table) -> None:
    maps = np.stack([table.looks.maps(n, 11) for n in range(_SAMPLES)])  # type: ignore[union-attr, misc]
    found = mean_maps(table, 11)
    assert found and found.pictures == _SAMPLES and found.maps == pytest.approx(maps.mean(0), abs=1e-5)
    off = maps - 1 / maps[0, 0].size
    same = _SAMPLES * (off.mean(0) ** 2).sum((1, 2)) / (off**2).sum((0, 2, 3))
    assert found.same == pytest.approx(same, rel=1e-3)
    assert ((found.same > 0) & (found.same <= 1)).all() and (np.abs(found.centre) <= 1).all()


class _Maps:
    """Maps as a table has them."""

    def __init__(self, maps: np.ndarray) -> None:
        self._maps = maps

    def crop(self, picture: int) -> None:
        return None

    def maps(self, picture: int, layer: int) -> np.ndarray:
        return self._maps[picture]

    def all_maps(self, layer: int) -> list[np.ndarray]:
        return [self._maps[:5].astype(np.float16), self._maps[5:].astype(np.float16)]


def test_a_fixed_place_the_centre_and_a_following_map_are_told_apart(table: Table) -> None:
    rng = np.random.default_rng(5)
    maps = np.full((40, 4, 7, 7), 0.5 / 49)
    maps[:, 0, 3, 3] += 0.5  # always the centre
    maps[:, 1, 0, 0] += 0.5  # always a corner
    for n in range(40):
        maps[n, 2, rng.integers(7), rng.integers(7)] += 0.5  # another place in each picture
    maps[:, 3] = 1 / 49  # uniform
    found = mean_maps(replace(table, looks=_Maps(maps)), 11)  # type: ignore[arg-type]
    assert found
    assert found.same[0] > 0.95 and found.same[1] > 0.95 and found.same[2] < 0.2 and np.isnan(found.same[3])
    assert found.centre[0] > 0.2 and found.centre[1] < 0


def _means(same: list[float], centre: list[float]) -> MeanMaps:
    return MeanMaps(np.zeros((len(same), 2, 2)), np.array(same), np.array(centre), 10)


@pytest.mark.parametrize(
    ("same", "centre", "said"),
    [
        ([MOSTLY - 0.01, 0.1], [1, 1], "every subspace follows the picture"),
        (
            [MOSTLY + 0.01, 0.1],
            [CENTRED - 0.01, 1],
            "subspace 1 prefers mostly the same place in every picture, which is not the centre",
        ),
        ([MOSTLY + 0.01, 0.1], [CENTRED + 0.01, 1], "which is the centre."),
        (
            [0.9, 0.8],
            [0.9, 0],
            "subspaces 1 and 2 prefer mostly the same place in every picture, which is the centre for 1.",
        ),
        ([np.nan, 0.2], [0, 0], "explains 20 %"),
        ([np.nan], [np.nan], "All maps of this layer are uniform."),
    ],
)
def test_the_sentence_of_mean_maps_has_its_borders(same: list[float], centre: list[float], said: str) -> None:
    assert said in said_of_mean_maps(_means(same, centre))


@pytest.mark.parametrize(
    ("explained", "chance", "said"),
    [
        ([LEAST - 0.001, 0.01], 0.01, "No subspace depends"),
        ([LEAST + 0.001, 0.01], 0.01, "One subspace depends"),
        ([0.3, 0.01], 0.31, "No subspace depends"),
        (
            [0.3, 0.4],
            0.29,
            "2 of 2 subspaces depend on the class beyond chance; most of all subspace 2 (40 % of the variance, by "
            "chance up to 29 %)",
        ),
        ([np.nan, np.nan], 0.0, "the same in all pictures"),
    ],
)
def test_the_sentence_of_classes_has_its_borders(explained: list[float], chance: float, said: str) -> None:
    found = Selectivity(
        ["cat_a", "b"], np.array([2, 2]), np.zeros((2, 2)), np.array(explained), chance, np.array([0, 0])
    )
    assert said in said_of_classes(found)
    assert "_" not in said_of_classes(found)
