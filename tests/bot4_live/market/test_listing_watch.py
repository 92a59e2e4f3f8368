"""When a venue is asked what its instruments are, by a clock of its own."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest

from bot4_live.market import listing_watch
from bot4_live.market.listing_watch import ListingWatch


@pytest.fixture
def asked(monkeypatch):
    """Run a watch for so many seconds; `loses(now)` counts the frames that lost digits. Gives when it asked."""

    async def run(seconds, loses, *, every_s=60.0):
        now, at = 0.0, []

        async def sleep(s):
            nonlocal now
            now += s

        async def check():
            at.append(now)
            return now >= seconds

        monkeypatch.setattr(listing_watch, "time", SimpleNamespace(monotonic=lambda: now))
        monkeypatch.setattr(listing_watch, "asyncio", SimpleNamespace(sleep=sleep))
        await ListingWatch(lambda: loses(now), every_s, check).run()
        return at

    return run


async def test_now_and_then(asked):
    assert await asked(200, lambda _: 0) == [60, 120, 180, 240]


async def test_soon_after_a_frame_lost_digits(asked):
    assert await asked(200, lambda now: int(now > 10)) == [10.25, 70.25, 130.25, 190.25, 250.25]


async def test_digits_that_go_on_being_lost_are_asked_about_ever_more_rarely(asked):
    at = await asked(300, lambda now: int(now * 4))
    assert at[:7] == [1, 3, 7, 15, 31, 63, 123]
    assert all(later - earlier == 60 for earlier, later in pairwise(at[6:]))


async def test_after_a_calm_while_it_is_soon_again(asked):
    at = await asked(400, lambda now: int(min(now, 20) * 4 + max(now - 200, 0) * 4))
    assert at[:5] == [1, 3, 7, 15, 31]  # the last of them for what was lost until the 20th second
    calm = [t for t in at if 31 < t <= 200]
    assert [later - earlier for earlier, later in pairwise(calm)] == [60] * (len(calm) - 1)
    first = next(t for t in at if t > 200)
    assert first == 200.25
