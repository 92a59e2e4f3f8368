"""News feeds on loopback: RSS 2.0 at /rss/NAME, Atom at /atom/NAME, with ETag and Last-Modified.

The stories are made up from a seed; headlines name what the rules of impact look for, and what they must not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from random import Random
from xml.sax.saxutils import escape

from bot4_platform.sources.local.http import LocalServer, Reply, Request

HEADLINES = (
    ("Bitcoin climbs past {n},000 dollars as spot ETF inflows grow", "Analysts point to steady demand."),
    ("Exchange halts withdrawals after {n} million dollar hack", "Funds were <b>stolen</b> from a hot wallet."),
    ("Fed holds interest rate; CPI due on Wednesday", "Markets price a rate cut within {n} days."),
    ("SEC sues trading firm over unregistered tokens", "The lawsuit names {n} assets."),
    ("Ethereum client release {n} fixes a rare reorg", "Operators should upgrade before the hard fork."),
    ("Stablecoin briefly loses peg, recovers within {n} minutes", "USDC traded at 0.98 on one venue."),
    ("Ten years of mining: a photographer looks back", "A story about people &amp; machines, number {n}."),
    ("Solana validators report outage of {n} minutes", "Blocks are being produced again."),
)


@dataclass(frozen=True)
class Story:
    """A story: the truth behind an entry."""

    guid: str
    link: str
    title: str
    summary: str
    time_s: int


def make_stories(seed: int, start_s: int, count: int, every_s: int = 1800) -> list[Story]:
    """Return stories from `start_s` (Unix seconds) on, oldest first."""
    random = Random(seed)
    found = []
    for i in range(count):
        title, summary = random.choice(HEADLINES)
        n = random.randint(2, 99)
        guid = hashlib.sha256(f"{seed}/{i}".encode()).hexdigest()[:16]
        link = f"https://news.example/{guid}?utm_source=rss"
        found.append(
            Story(guid, link, title.format(n=n), summary.format(n=n), start_s + i * every_s + random.randint(0, 600))
        )
    return found


class FeedServer(LocalServer):
    """Serves `stories` by feed name, the newest `shown` of each."""

    def __init__(self, stories: dict[str, list[Story]], *, shown: int = 100, limit: int | None = None) -> None:
        """Serve these feeds."""
        super().__init__(limit=limit)
        self.stories, self.shown = stories, shown

    def answer(self, request: Request) -> Reply:
        """Answer with a feed, or 304 to who has it."""
        _, kind, name = [*request.path.split("/"), "", ""][:3]
        if name not in self.stories or kind not in ("rss", "atom"):
            return Reply(b"no such feed", 404, "text/plain")
        stories = self.stories[name][-self.shown :][::-1]
        body = (_rss if kind == "rss" else _atom)(name, stories).encode()
        modified = format_datetime(
            datetime.fromtimestamp(max((one.time_s for one in stories), default=0), UTC), usegmt=True
        )
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        marks = {"ETag": etag, "Last-Modified": modified}
        asked, since = request.headers.get("if-none-match"), request.headers.get("if-modified-since")
        if asked == etag or (
            asked is None and since and parsedate_to_datetime(since) >= parsedate_to_datetime(modified)
        ):
            return Reply(b"", 304, headers=marks)
        return Reply(body, content_type=f"application/{kind}+xml; charset=utf-8", headers=marks)


def _rss(name: str, stories: list[Story]) -> str:
    items = "".join(
        f"<item><title>{escape(one.title)}</title><link>{escape(one.link)}</link>"
        f'<guid isPermaLink="false">{one.guid}</guid><description><![CDATA[<p>{one.summary}</p>]]></description>'
        f"<pubDate>{format_datetime(datetime.fromtimestamp(one.time_s, UTC))}</pubDate></item>"
        for one in stories
    )
    head = f"<title>{name}</title><link>https://news.example</link><description>{name}</description>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0"><channel>{head}{items}</channel></rss>'


def _atom(name: str, stories: list[Story]) -> str:
    entries = "".join(
        f'<entry><id>urn:{one.guid}</id><title type="text">{escape(one.title)}</title><link href="{escape(one.link)}"/>'
        f'<summary type="html">{escape(f"<p>{one.summary}</p>")}</summary>'
        f"<updated>{datetime.fromtimestamp(one.time_s, UTC).isoformat()}</updated></entry>"
        for one in stories
    )
    head = f"<id>urn:feed:{name}</id><title>{name}</title><updated>2024-08-08T00:00:00Z</updated>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">{head}{entries}</feed>'
