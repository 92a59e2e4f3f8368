"""Feeds as they are and as attackers send them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_platform.sources.errors import BadPage
from bot4_platform.sources.local.feeds import _atom, _rss, make_stories
from bot4_platform.sources.news.feed import Parsed, parse_feed
from bot4_platform.sources.news.score import CATEGORIES, TERMS, impact
from bot4_platform.sources.text import coins, plain

NOW_NS = int(datetime(2024, 8, 9, tzinfo=UTC).timestamp()) * 10**9

# Shapes as publishers send them: RSS 2.0 with CDATA, namespaces and a guid that is no address; Atom with two links.
RSS = b"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom" xmlns:dc="http://purl.org/dc/elements/1.1/"
  xmlns:media="http://search.yahoo.com/mrss/"><channel><title>Desk</title><link>https://desk.example</link>
<description>d</description><atom:link href="https://desk.example/rss" rel="self" type="application/rss+xml"/>
<item><title><![CDATA[Exchange halts withdrawals after $45M hack]]></title>
 <link>https://desk.example/a?utm_source=rss&amp;utm_medium=feed</link><guid isPermaLink="false">a1b2</guid>
 <pubDate>Thu, 08 Aug 2024 14:05:00 -0400</pubDate><dc:creator>N. N.</dc:creator>
 <description><![CDATA[<p>Funds in <b>Bitcoin</b> were <script>alert(1)</script>stolen &amp; moved.</p>]]></description>
</item><item><title>Ten years of mining</title><link>https://desk.example/b</link>
<pubDate>Thu, 08 Aug 2024 10:00:00 GMT</pubDate>
</item></channel></rss>"""
ATOM = b"""<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><id>urn:f</id><title>f</title>
<updated>2024-08-08T12:00:00Z</updated><entry><id>urn:1</id><title type="html">SEC sues &lt;i&gt;firm&lt;/i&gt;</title>
<link rel="self" href="https://f.example/api/1"/><link rel="alternate" href="https://f.example/1"/>
<updated>2024-08-08T12:30:00+02:00</updated><summary>ETH</summary></entry></feed>"""


def test_rss_as_publishers_send_it() -> None:
    found = parse_feed("desk", RSS, NOW_NS)
    assert (len(found.entries), found.rejected, found.well_formed) == (2, [], True)
    first, second = found.entries
    assert first.title == "Exchange halts withdrawals after $45M hack"
    assert first.published_ns == int(datetime(2024, 8, 8, 18, 5, tzinfo=UTC).timestamp()) * 10**9
    assert first.summary == "Funds in Bitcoin were stolen & moved."
    assert first.guid == "a1b2"
    assert second.guid == ""
    assert first.same_as[0] == "https://desk.example/a"


def test_atom_as_publishers_send_it() -> None:
    (entry,) = parse_feed("f", ATOM, NOW_NS).entries
    assert (entry.title, entry.link) == ("SEC sues firm", "https://f.example/1")
    assert entry.published_ns == int(datetime(2024, 8, 8, 10, 30, tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize("write", [_rss, _atom])
def test_every_story_of_a_feed_is_an_entry(write) -> None:
    stories = make_stories(3, 1_723_075_200, 30)
    found = parse_feed("f", write("f", stories).encode(), NOW_NS)
    assert [(one.title, one.published_ns) for one in found.entries] == [(s.title, s.time_s * 10**9) for s in stories]
    assert len({one.id for one in found.entries}) == 30


BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "%s">%s]>
<rss version="2.0"><channel><title>&z;</title><item><title>&z;</title><link>https://x.example</link></item></channel></rss>"""
LEVELS = b"".join(b'<!ENTITY %c "%s">' % (98 + i, (b"&%c;" % (97 + i)) * 10) for i in range(25))


@pytest.mark.parametrize(
    "content",
    [
        BOMB % (b"lol", LEVELS),
        BOMB % (b"x" * 100_000, b'<!ENTITY z "' + b"&a;" * 10_000 + b'">'),
        b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY z SYSTEM "file:///etc/passwd">]><rss version="2.0"><channel><item>'
        b"<title>&z;</title></item></channel></rss>",
        b'<!DOCTYPE r [<!eNTITY % p SYSTEM "http://127.0.0.1:1/x"> %p;]><rss version="2.0"></rss>',
        (BOMB % (b"lol", LEVELS)).decode().encode("utf-16"),
    ],
    ids=["laughs", "quadratic", "file", "parameter", "utf-16"],
)
def test_entities_are_never_expanded(content: bytes) -> None:
    began = time.process_time()
    with pytest.raises(BadPage) as caught:
        parse_feed("f", content, NOW_NS)
    assert caught.value.rule == "entities"
    assert time.process_time() - began < 0.5


def test_an_encoding_that_hides_entities_is_refused() -> None:
    hidden = b'<?xml version="1.0" encoding="utf-7"?>' + "<!DOCTYPE r [<!ENTITY z 'z'>]><rss/>".encode("utf-7")
    with pytest.raises(BadPage, match="utf-7"):
        parse_feed("f", hidden, NOW_NS)
    with pytest.raises(BadPage) as caught:
        parse_feed("f", RSS.decode().encode("cp037"), NOW_NS)
    assert caught.value.rule == "not_a_feed"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"<!DOCTYPE html><html><body>Checking your browser</body></html>", "html"), (b"", "not_a_feed"),
        (b'{"items": []}', "not_a_feed"), (b"<root><a/></root>", "not_a_feed"), (b"/etc/passwd", "not_a_feed"),
        (b"https://127.0.0.1:1/feed", "not_a_feed"), (b"\x1f\x8b\x08\x00", "not_a_feed"),
        (b'<rss version="2.0"><channel>' + b"<item><title>a</title></item>" * 5001 + b"</channel></rss>", "too_large"),
    ],
)  # fmt: skip
def test_what_is_no_feed(content: bytes, rule: str) -> None:
    with pytest.raises(BadPage) as caught:
        parse_feed("f", content, NOW_NS)
    assert caught.value.rule == rule


def with_item(inner: str) -> Parsed:
    good = "<title>t</title><link>https://x.example</link><pubDate>Thu, 08 Aug 2024 10:00:00 GMT</pubDate>"
    item = f"<item>{inner}</item><item>{good}</item>"
    return parse_feed("f", f'<rss version="2.0"><channel>{item}</channel></rss>'.encode(), NOW_NS)


GOOD = "<title>t</title><guid>1</guid>"


@pytest.mark.parametrize(
    ("inner", "rule"),
    [
        ("<title>t</title>", "schema"), ("<guid>1</guid>", "schema"), (GOOD, "schema"),
        (GOOD + "<pubDate>NaN</pubDate>", "schema"), (GOOD + "<pubDate>-5</pubDate>", "schema"),
        (GOOD + "<pubDate>Thu, 08 Aug 2094 10:00:00 GMT</pubDate>", "future"),
        (GOOD + "<pubDate>Thu, 08 Aug 1955 10:00:00 GMT</pubDate>", "negative"),
        (GOOD + "<link>javascript:alert(1)</link><pubDate>Thu, 08 Aug 2024 10:00:00 GMT</pubDate>", "schema"),
    ],
)  # fmt: skip
def test_a_bad_entry_is_rejected_and_its_neighbour_stays(inner: str, rule: str) -> None:
    found = with_item(inner)
    assert [item.rule for item in found.rejected] == [rule]
    assert [entry.title for entry in found.entries] == ["t"]


def test_of_a_feed_cut_off_the_last_entry_is_left_out() -> None:
    whole = _rss("f", make_stories(3, 1_723_075_200, 10)).encode()
    cut = whole[: whole.rindex(b"</title>") - 5]
    found = parse_feed("f", cut, NOW_NS)
    assert not found.well_formed
    assert [one.id for one in found.entries] == [one.id for one in parse_feed("f", whole, NOW_NS).entries[:9]]


@given(st.binary(max_size=300), st.text(max_size=100))
@settings(max_examples=30, deadline=None)
def test_whatever_comes_is_entries_or_a_bad_page(noise: bytes, text: str) -> None:
    retold = RSS.replace(b"Ten years", text.encode(errors="replace"))
    rules = {"html", "not_a_feed", "entities", "encoding", "too_large"}
    for content in (noise, RSS[:200] + noise + RSS[200:], retold, ATOM[: len(noise)]):
        try:
            entries = parse_feed("f", content, NOW_NS).entries
        except BadPage as page:
            entries = []
            rules.add(page.rule)
        assert all(entry.title and entry.published_ns <= NOW_NS + 5 * 10**9 for entry in entries)
    assert len(rules) == 5
    assert "\0" not in plain(text, 50)


def test_impact_is_what_its_rules_say() -> None:
    hack = impact("Exchange halts withdrawals after hack", "", 1.0)
    assert hack.score == pytest.approx(1 - (1 - 0.9) * (1 - 0.7))
    assert hack.categories == ("solvency", "security")
    assert impact("A walk in the park", "Nothing happened", 1.0).score == 0.0
    assert impact("x", "hack", 1.0).score == pytest.approx(0.35)
    assert impact("Exchange halts withdrawals after hack", "", 0.5).score == pytest.approx(hack.score / 2)
    assert impact("Second-hand bandage banner fedora secret", "", 1.0).terms == ()  # no term within a word
    assert impact("SPOT ETF approved", "", 1.0).categories == ("institutions",)
    assert all(0 < weight < 1 for _, weight in TERMS.values())
    assert len(TERMS) == sum(map(len, CATEGORIES.values()))  # no term in two categories


@given(st.text(max_size=80), st.lists(st.sampled_from(sorted(TERMS)), max_size=8), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_impact_stays_between_0_and_1_and_grows_with_terms(text: str, terms: list[str], weight: float) -> None:
    found = impact(" ".join([text, *terms]), text, weight)
    assert 0 <= found.score <= weight
    assert impact(" ".join([*terms, "hack"]), "", 1.0).score >= impact(" ".join(terms), "", 1.0).score - 1e-12


def test_coins_are_named_by_words() -> None:
    assert coins("Bitcoin and $ETH, not methane or solar; #SOL!") == "BTC,ETH,SOL"
    assert coins("nothing") == ""


def test_plain_text_has_no_markup(tmp_path: Path) -> None:
    assert plain("<p>a&amp;b<style>x{}</style><br/>c</p><script>1</script>\x07", 100) == "a&b c"
    assert plain("<" * 10_000, 10)[:1] == "<"
