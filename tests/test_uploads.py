"""Uploads are kept while their visitor is there and a little longer, within a number of bytes, and known by their key
alone.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ulsam_viz.dataset.made import Photographs
from ulsam_viz.ui.run.table_pictures import Lent, Way
from ulsam_viz.ui.run.uploads import OWN_PICTURES, Upload, Uploads, albums, everything, uploads

PICTURE = Image.new("RGB", (100, 100))
UPLOAD = Upload("a.jpg", PICTURE, PICTURE)


def test_a_picture_outlives_its_visitor_by_ten_minutes() -> None:
    now = [0.0]
    kept: Uploads[Upload] = Uploads(10**6, clock=lambda: now[0])
    kept.put("a", UPLOAD, "first")
    now[0] = 10_000
    kept.look(lambda session: session == "first")  # an idle visitor is still a visitor
    now[0] += 599
    kept.look(lambda _: False)
    assert kept.get("a", "second") == UPLOAD  # a reload is another session
    now[0] += 5_000
    kept.look(lambda session: session == "second")
    now[0] += 601
    kept.look(lambda _: False)
    assert kept.get("a", "third") is None


def test_the_picture_that_was_not_looked_at_for_longest_makes_room() -> None:
    kept: Uploads[Upload] = Uploads(limit=2 * 30_000)
    for key in ("a", "b"):
        kept.put(key, UPLOAD, "one")
    assert kept.get("a", "two")
    kept.put("c", UPLOAD, "three")
    assert [bool(kept.get(key, "one")) for key in ("a", "b", "c")] == [True, False, True]


def test_a_picture_that_is_taken_away_is_forgotten_at_once() -> None:
    kept: Uploads[Upload] = Uploads(10**6)
    kept.put("a", UPLOAD, "one")
    assert kept.get("a", "guest")
    kept.remove("a", "one")
    assert kept.get("a", "one") is None and kept.get("a", "guest") is None
    kept.remove("a", "one")  # twice is fine: two windows may show it


def test_nobody_takes_away_what_somebody_else_brought() -> None:
    kept: Uploads[Upload] = Uploads(10**6)
    kept.put("a", UPLOAD, "one")
    assert kept.get("a", "guest")  # by its address
    assert kept.is_mine("a", "one") and not kept.is_mine("a", "guest") and kept.is_mine("a", "guest", lambda _: False)
    kept.remove("a", "guest")
    assert kept.get("a", "one")
    kept.put("a", UPLOAD, "two")  # the very same, under the same name
    kept.remove("a", "one")
    assert kept.get("a", "two")
    kept.remove("a", "two")
    assert kept.get("a", "two") is None


def test_who_loads_the_page_anew_may_still_take_away_what_was_brought_before() -> None:
    kept: Uploads[Upload] = Uploads(10**6)
    kept.put("a", UPLOAD, "before")
    assert kept.get("a", "after")
    kept.remove("a", "after", lambda session: session != "before")
    assert kept.get("a", "after") is None


def test_what_others_look_at_stays_where_it_is_only_replaced() -> None:
    kept: Uploads[Upload] = Uploads(10**6)
    for key in ("a", "b"):
        kept.put(key, UPLOAD, "one")
    assert kept.get("a", "guest")
    for key in ("a", "b"):
        kept.remove(key, "one", from_all=False)
    assert kept.get("a", "guest") and kept.get("b", "guest") is None


def test_the_whole_of_a_large_picture_counts_too() -> None:
    kept: Uploads[Upload] = Uploads(limit=2 * 30_000)
    kept.put("a", UPLOAD, "one")
    # 75,000 bytes: more than there is room for
    kept.put("b", Upload("b.jpg", PICTURE, Image.new("RGB", (150, 100))), "one")
    assert kept.get("a", "one") is None and kept.get("b", "one") is None


def test_one_visitor_cannot_push_out_everybody_elses() -> None:
    kept: Uploads[Upload] = Uploads(limit=20 * 30_000)
    kept.put("theirs", UPLOAD, "other")
    for n in range(100):
        kept.put(f"mine{n}", UPLOAD, "one")
    assert kept.get("theirs", "other")
    assert [n for n in range(100) if kept.get(f"mine{n}", "one")] == [97, 98, 99]
    assert kept.get("mine97", "other")  # what somebody else looks at stays: the address was shared
    kept.put("mine100", UPLOAD, "one")
    kept.put("mine101", UPLOAD, "one")
    assert [key for key in ("mine97", "mine98", "mine99", "mine100", "mine101") if kept.get(key, "one")] == [
        "mine97",
        "mine99",
        "mine100",
        "mine101",
    ]


def test_pictures_and_albums_share_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ulsam_viz.ui.run.uploads.limit", lambda _: 1)
    everything.cache_clear()
    try:
        many = Photographs("Yours", ["a.jpg"] * 4, np.zeros((4, 224, 224, 3), np.uint8))  # 0.6 of 1 MB
        albums().put("album", many, "one")
        for n in range(9):  # a visitor's albums are not counted among their pictures
            uploads().put(f"own-{n}", UPLOAD, "one")
        assert albums().get("album", "one") is many and uploads().used == many.size + OWN_PICTURES * UPLOAD.size
        large = Image.new("RGB", (500, 400))
        uploads().put("own-large", Upload("b.jpg", large, large), "two")
        assert uploads().used <= 10**6 and albums().get("album", "one") is None
    finally:
        everything.cache_clear()


def test_a_lent_picture_is_open_as_long_as_what_it_is_read_from() -> None:
    kept: Uploads[Upload] = Uploads(10**6)
    kept.put("album", UPLOAD, "one")
    lent = Lent()
    lent.put("b", Way(lambda: kept.get("album", "guest"), lambda: kept.get("album", "guest") is not None))
    assert lent.get("b") == UPLOAD and lent.is_open("b")
    kept.remove("album", "one")
    assert lent.get("b") is None and not lent.is_open("b")
    assert lent.get("never lent") is None and not lent.is_open("never lent")
