"""A feed's bytes to entries. The XML is a stranger's: documents that declare entities are refused before a parser sees
them, so neither an entity bomb nor an external entity is ever expanded.
"""

from __future__ import annotations

import calendar
import hashlib
import io
import re
from dataclasses import dataclass
from typing import Any

from bot4_platform.sources.errors import BadPage
from bot4_platform.sources.http import SHOWN
from bot4_platform.sources.text import plain
from bot4_platform.sources.validation import EARLIEST_NS, FUTURE_NS, Rejected, raw_bytes

TITLE, SUMMARY = 500, 2000  # characters kept
MOST_ENTRIES = 5000
ENCODING = re.compile(rb"""<\?xml[^>]{0,100}encoding\s*=\s*["']\s*([A-Za-z0-9._-]{1,40})""")
READ = {b"utf-8", b"utf8", b"utf-16", b"us-ascii", b"ascii", b"iso-8859-1", b"iso-8859-15", b"windows-1252", b"latin-1"}
TRACKING = re.compile(r"[?&](utm_[a-z]+|ref|source)=[^&#]*")


@dataclass(frozen=True)
class Entry:
    """A story as its feed has it. `id` is of the guid, or of link and title where there is none."""

    id: str
    published_ns: int
    guid: str
    link: str
    title: str
    summary: str

    @property
    def same_as(self) -> tuple[str, str]:
        """Return what two feeds' copies of a story share: the link without what tracks its readers, the title."""
        return TRACKING.sub("", self.link).rstrip("?&/").lower(), " ".join(re.findall(r"\w+", self.title.lower()))


@dataclass(frozen=True)
class Parsed:
    """The entries of a feed in its order, what could not be one, and whether it was well-formed."""

    entries: list[Entry]
    rejected: list[Rejected]
    well_formed: bool


def parse_feed(feed: str, content: bytes, now_ns: int) -> Parsed:
    """Return the entries of `feed`. Raises BadPage for what is no feed, or one that is not safe to read.

    Of a feed that is not well-formed the last entry is left out: it may be cut off.
    """
    refuse_unsafe(content)
    import feedparser

    # A stream, since feedparser takes a string or bytes for an address or a file's name where they look like one.
    try:
        found = feedparser.parse(io.BytesIO(content), resolve_relative_uris=False, sanitize_html=False)
    except Exception as error:  # it raises what it meets in odd markup: no list of that is complete
        raise BadPage("not_a_feed", f"it cannot be parsed: {type(error).__name__}", content[:SHOWN]) from None
    if not found.get("version"):
        head = content[:512].lstrip().lower()
        rule = "html" if b"<html" in head or head.startswith(b"<!doctype html") else "not_a_feed"
        raise BadPage(rule, "neither RSS nor Atom came", content[:SHOWN])
    raws = found.entries
    if len(raws) > MOST_ENTRIES:
        raise BadPage("too_large", f"{len(raws)} entries; {MOST_ENTRIES} are read", content[:SHOWN])
    encoding = type(found.get("bozo_exception")).__name__ in ("CharacterEncodingOverride", "NonXMLContentType")
    well_formed = not found.bozo or encoding
    entries, rejected = [], []
    for raw in raws if well_formed else raws[:-1]:
        try:
            entries.append(parse_entry(feed, raw, now_ns))
        except BadEntry as error:
            rejected.append(Rejected(error.rule, str(error), _raw(raw)))
    return Parsed(entries, rejected, well_formed)


class BadEntry(ValueError):
    """An entry that is none; `rule` names the check."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def parse_entry(feed: str, raw: Any, now_ns: int) -> Entry:
    """Return an entry. Raises BadEntry (`schema`, `negative`, `future`)."""
    title = plain(str(raw.get("title") or ""), TITLE)
    guid, link = str(raw.get("id") or "").strip()[:1000], str(raw.get("link") or "").strip()[:1000]
    if not title:
        raise BadEntry("schema", "an entry without a title")
    if not (guid or link):
        raise BadEntry("schema", "an entry with neither guid nor link")
    if link == guid and not link.startswith("http"):
        link = ""  # RSS takes a guid for an address unless it says otherwise; feedparser follows it
    if link and not re.match(r"https?://", link):
        raise BadEntry("schema", f"a link that is no web address: {link[:80]}")
    moment = raw.get("published_parsed") or raw.get("updated_parsed")
    if moment is None:
        raise BadEntry("schema", "an entry without a date that can be read")
    try:
        at = calendar.timegm(moment) * 1_000_000_000
    except (ValueError, OverflowError, TypeError) as error:
        raise BadEntry("schema", f"an impossible date: {error}") from None
    if at < EARLIEST_NS:
        raise BadEntry("negative", f"dated {moment[0]}, before there was anything to report")
    if at > now_ns + FUTURE_NS:
        raise BadEntry("future", f"dated {(at - now_ns) / 1e9:.0f} s ahead of the clock")
    key = f"{feed}\0{guid}" if guid else f"{link}\0{title}"
    digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()[:32]
    return Entry(digest, at, guid, link, title, plain(str(raw.get("summary") or ""), SUMMARY))


def refuse_unsafe(content: bytes) -> None:
    """Raise BadPage for a document with entities of its own, or in an encoding that could hide them.

    Zero bytes are passed over, so UTF-16 is seen through; encodings whose bytes are not ASCII's (UTF-7, EBCDIC) are
    refused, since the parser would turn them into text after this look.
    """
    head = content[:4096].replace(b"\0", b"")
    declared = ENCODING.search(head)
    if declared and declared[1].lower() not in READ:
        raise BadPage("encoding", f"encoding {declared[1].decode()} is not read", content[:SHOWN])
    start = head.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if not start.startswith(b"<"):
        raise BadPage("not_a_feed", "neither RSS nor Atom came", content[:SHOWN])
    if b"<!entity" in content.replace(b"\0", b"").lower():
        raise BadPage("entities", "the document declares entities; it is not read", content[:SHOWN])


def _raw(raw: Any) -> bytes:
    shown = {
        name: str(raw.get(name))[:500] for name in ("id", "link", "title", "published", "updated") if raw.get(name)
    }
    return raw_bytes(shown)
