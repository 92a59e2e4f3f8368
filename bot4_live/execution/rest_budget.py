"""One budget of REST requests per venue and address of this machine, shared by all processes of this user.

Venues count by IP address (Binance: weight in a fixed minute of the venue's time) and by account (orders in 10 s and in
1 min); who goes on after a 429 is banned with a 418 (Binance USD-M API, "Limits"). So all processes claim from one
record in shared memory before they send. The venue's own counts, its Retry-After and a ban are written there too,
and hold for every process at once. Nothing here waits: a claim is granted, or refused with the time to wait.

A damaged record is begun anew, half spent, and set right by the next answer. Standard library only: the watchdog uses
it too.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from bot4_live.clock import MS, boottime_ns
from bot4_live.execution.shared_record import SharedRecord, unused

log = logging.getLogger(__name__)

SECOND_NS, MINUTE_NS = 1_000_000_000, 60_000_000_000
WEIGHT_LIMIT, ORDER_LIMIT_10S, ORDER_LIMIT_1M = 2400, 300, 1200  # Binance USD-M, until exchangeInfo says otherwise
EDGE_NS = 500 * MS  # of venue time: this near the minute's start an answer may still count the minute before
BAN_S = 120.0  # the shortest ban; for a 418 that does not say how long
TOO_MANY_ORDERS = -1015


class Priority(IntEnum):
    """Who may still send when the budget runs low; the lower, the longer."""

    KILL = 0
    CANCEL = 1
    ORDER = 2
    QUERY = 3
    SNAPSHOT = 4
    HISTORY = 5


# Percent of the limit up to which a class may spend. Our own count never refuses a kill, only the venue's word does.
CEILING = {Priority.CANCEL: 90, Priority.ORDER: 80, Priority.QUERY: 75, Priority.SNAPSHOT: 60, Priority.HISTORY: 40}
ORDER_CEILING = 90  # percent of the order limits; the rest is for a kill

# Words of the record, times in ns. At CLOCK_BOOTTIME BOOT the venue's clock showed VENUE; UNTIL is a CLOCK_BOOTTIME.
_MAGIC, _LIMIT, _LIMIT_10S, _LIMIT_1M, _BOOT, _VENUE, _SPEED = range(7)
_WINDOW, _USED, _CLAIMED, _UNSURE, _UNTIL, _BANNED = range(7, 13)
_ROWS, _ROW, _ACCOUNTS = 16, 6, 8  # then rows of accounts:
_TAG, _WINDOW_10S, _COUNT_10S, _WINDOW_1M, _COUNT_1M, _ORDERS_UNTIL = range(6)
_WORDS = _ROWS + _ROW * _ACCOUNTS
_MAGIC_WORD = 0x42345F52_45535431  # "B4_REST1"
_LIMIT_WORDS: dict[tuple[Any, Any, Any], int] = {
    ("REQUEST_WEIGHT", "MINUTE", 1): _LIMIT,
    ("ORDERS", "SECOND", 10): _LIMIT_10S,
    ("ORDERS", "MINUTE", 1): _LIMIT_1M,
}
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")


class Throttled(Exception):
    """A request that must not be sent now. `wait_s` is when to ask again, jittered; `banned` that it is a ban."""

    def __init__(self, text: str, wait_s: float, *, banned: bool = False) -> None:
        super().__init__(text)
        self.wait_s, self.banned = wait_s, banned


class Headers(Protocol):
    """What an answer's headers must do; names are looked up whatever their case."""

    def get(self, name: str, /) -> str | None: ...


class Ticket(NamedTuple):
    """A claim that was granted: what is noted or given back later."""

    window: int
    claimed: int  # all that was ever claimed, this one included
    weight: int
    tag: int


def account_tag(api_key: str) -> int:
    """Return what an account's orders are counted under, 0 without a key; no key can be learnt from it."""
    return int.from_bytes(hashlib.sha256(api_key.encode()).digest()[:7], "big") | 1 if api_key else 0


def budget_path(url: str, directory: Path | None = None) -> Path:
    """Return the record of the venue at `url`: one a host and port."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "wss": 443}.get(parts.scheme, 80)
    name = re.sub(r"[^A-Za-z0-9.-]", "_", f"{parts.hostname}-{port}")
    return (directory or Path(f"/dev/shm/bot4-{os.getuid()}-rest")) / name


class RestBudget:
    """The budget of the venue at `url`. Thread-safe; raises OSError when shared memory cannot be used."""

    def __init__(self, url: str, *, directory: Path | None = None, clock: Callable[[], int] = boottime_ns) -> None:
        """Join the other processes at `url`, or begin."""
        path = budget_path(url, directory)
        _sweep(path)
        self._record = SharedRecord(path, _WORDS)
        self._clock, self._random = clock, random.Random()

    # Claiming.

    def claim(self, weight: int, priority: Priority, tag: int = 0, *, order: bool = False) -> Ticket:
        """Spend `weight` (and one order of the account `tag`); raises Throttled, then nothing is spent."""
        if not self._record.enter():
            if priority <= Priority.CANCEL:
                return Ticket(-1, 0, 0, 0)  # not counted here; the venue's next answer tells
            raise Throttled("another process holds the request budget", self._random.uniform(0.005, 0.02))
        try:
            now = self._clock()
            words = self._read(now)
            if now < words[_UNTIL]:
                raise self._silence(words, now)
            venue_ns = _roll(words, now)
            used, limit = words[_USED], words[_LIMIT]
            # An order weighs nothing, but its cancel will.
            if priority != Priority.KILL and used + max(weight, 1) > limit * CEILING[priority] // 100:
                text = f"the requests of this minute are spent ({used} of {limit}; {_share(priority)})"
                raise Throttled(text, self._jittered(words, MINUTE_NS - venue_ns % MINUTE_NS))
            if order:
                self._count_order(words, tag, venue_ns, now, kill=priority == Priority.KILL)
            words[_USED] = used + weight
            words[_CLAIMED] += weight
            self._record.write(words)
            return Ticket(words[_WINDOW], words[_CLAIMED], weight, tag if order else 0)
        finally:
            self._record.leave()

    def give_back(self, ticket: Ticket) -> None:
        """Return a claim whose request never left."""
        if ticket.window < 0 or not self._record.enter():
            return
        try:
            now = self._clock()
            words = self._read(now)
            _roll(words, now)
            if ticket.window == words[_WINDOW]:
                words[_USED] = max(0, words[_USED] - ticket.weight)
            row = _row(words, ticket.tag)
            if row:
                words[row + _COUNT_10S] = max(0, words[row + _COUNT_10S] - 1)
                words[row + _COUNT_1M] = max(0, words[row + _COUNT_1M] - 1)
            self._record.write(words)
        finally:
            self._record.leave()

    # What the venue says.

    def note(self, ticket: Ticket, status: int, headers: Headers, code: int = 0, text: str = "") -> None:
        """Take in an answer: its counts, and after 429 or 418 how long to be silent; `code`, `text` are the error's."""
        counts = tuple(_number(headers.get(name)) for name in ("X-MBX-USED-WEIGHT-1M", *_ORDER_HEADERS))
        refused = status in (418, 429)
        if (not refused and self._is_old(ticket, *counts)) or not self._record.enter():
            return
        try:
            now = self._clock()
            words = self._read(now)
            venue_ns = _roll(words, now)
            _learn_counts(words, ticket, venue_ns, *counts)
            if refused:
                orders = status == 429 and code == TOO_MANY_ORDERS and ticket.tag
                at = _row(words, ticket.tag, claim=True) + _ORDERS_UNTIL if orders else _UNTIL
                until = now + _silence_ns(words, venue_ns, status, headers.get("Retry-After") or "", text)
                if until > words[at]:
                    words[at] = until
                    if at == _UNTIL:
                        words[_BANNED] = int(status == 418)
            self._record.write(words)
        finally:
            self._record.leave()

    def set_clock(self, venue_ns: int, boot_ns: int, speed_milli: int = 1000) -> None:
        """Say that the venue's clock showed `venue_ns` at CLOCK_BOOTTIME `boot_ns`: its minutes are what counts."""
        if speed_milli > 0:
            self._change({_BOOT: boot_ns, _VENUE: venue_ns, _SPEED: speed_milli})

    def learn(self, rate_limits: Any) -> None:
        """Take the limits from exchangeInfo's `rateLimits`; what is not understood is passed over."""
        found = {}
        for row in rate_limits if isinstance(rate_limits, list) else ():
            if not isinstance(row, dict):
                continue
            word = _LIMIT_WORDS.get((row.get("rateLimitType"), row.get("interval"), row.get("intervalNum")))
            limit = row.get("limit")
            if word is not None and isinstance(limit, int) and limit > 0:
                found[word] = limit
        if found:
            self._change(found)

    def _change(self, values: Mapping[int, int]) -> None:
        if self._record.enter():
            try:
                words = self._read(self._clock())
                for word, value in values.items():
                    words[word] = value
                self._record.write(words)
            finally:
                self._record.leave()

    def forget(self) -> None:
        """Begin anew: for a simulated exchange that has just started and counts from zero."""
        if self._record.enter():
            try:
                self._record.write(_fresh(self._clock()))
            finally:
                self._record.leave()

    def state(self) -> dict[str, Any]:
        """Return what is spent and what is barred, for people; times in real seconds from now."""
        now = self._clock()
        words = self._record.read() or _fresh(now)
        venue_ns = _roll(words, now)
        silent = max(0, words[_UNTIL] - now)
        return {
            "limit": words[_LIMIT],
            "used": words[_USED],
            "window_ends_in_s": (MINUTE_NS - venue_ns % MINUTE_NS) * 1000 / words[_SPEED] / 1e9,
            "silent_for_s": silent / 1e9,
            "banned": bool(silent and words[_BANNED]),
        }

    def close(self) -> None:
        """Leave the record to the others."""
        self._record.close()

    # Parts.

    def _read(self, now: int) -> list[int]:
        words = self._record.read()
        if words and words[_MAGIC] == _MAGIC_WORD and words[_SPEED] > 0 and words[_LIMIT] > 0:
            return words
        fresh = _fresh(now)
        if words != []:  # damaged, not new: something was spent, nobody knows how much
            log.warning("%s was damaged: begun anew, half spent until the venue's next answer", self._record.path)
            _roll(fresh, now)
            fresh[_USED], fresh[_UNSURE] = fresh[_LIMIT] // 2, 1
        return fresh

    def _count_order(self, words: list[int], tag: int, venue_ns: int, now: int, *, kill: bool) -> None:
        row = _row(words, tag, claim=True)
        if now < words[row + _ORDERS_UNTIL]:
            wait = (words[row + _ORDERS_UNTIL] - now) / 1e9 * self._random.uniform(1, 1.1)
            raise Throttled("the venue wants no order of this account (429)", wait)
        spans = (_WINDOW_10S, _LIMIT_10S, 10 * SECOND_NS), (_WINDOW_1M, _LIMIT_1M, MINUTE_NS)
        for at, limit, span in spans:
            if words[row + at] != venue_ns // span:
                words[row + at], words[row + at + 1] = venue_ns // span, 0
            if not kill and words[row + at + 1] >= words[limit] * ORDER_CEILING // 100:
                spent = f"{words[row + at + 1]} of {words[limit]} in {span // SECOND_NS} s"
                wait = self._jittered(words, span - venue_ns % span)
                raise Throttled(f"the account's orders are spent ({spent})", wait)
        words[row + _COUNT_10S] += 1
        words[row + _COUNT_1M] += 1

    def _silence(self, words: list[int], now: int) -> Throttled:
        left = (words[_UNTIL] - now) / 1e9
        until = datetime.fromtimestamp(time.time() + left, UTC)
        said = "has banned this address (418)" if words[_BANNED] else "asked for silence (429)"
        wait = left + self._random.uniform(0, min(1.0, 0.1 * left))
        return Throttled(f"the venue {said} until {until:%Y-%m-%d %H:%M:%S} UTC", wait, banned=bool(words[_BANNED]))

    def _jittered(self, words: list[int], venue_ns: int) -> float:
        """Return real seconds; those that wait for the same minute must not come all at once."""
        wait = venue_ns * 1000 / words[_SPEED] / 1e9
        return wait + self._random.uniform(0, min(1.0, 0.1 * wait) + 0.01)

    def _is_old(self, ticket: Ticket, used: int, ten: int, minute: int) -> bool:
        """Return whether an answer tells nothing new; read without the lock."""
        words = self._record.read()
        if not words or words[_UNSURE]:
            return False
        if ticket.window != words[_WINDOW]:
            return not ticket.tag
        row = _row(words, ticket.tag)
        return used + words[_CLAIMED] - ticket.claimed <= words[_USED] and (
            not row or (ten <= words[row + _COUNT_10S] and minute <= words[row + _COUNT_1M])
        )


_ORDER_HEADERS = ("X-MBX-ORDER-COUNT-10S", "X-MBX-ORDER-COUNT-1M")


def _fresh(now: int) -> list[int]:
    """Return a new record; this machine's clock passes for the venue's until `set_clock`."""
    words = [0] * _WORDS
    words[_MAGIC] = _MAGIC_WORD
    words[_LIMIT], words[_LIMIT_10S], words[_LIMIT_1M] = WEIGHT_LIMIT, ORDER_LIMIT_10S, ORDER_LIMIT_1M
    words[_BOOT], words[_VENUE], words[_SPEED] = now, time.time_ns(), 1000
    return words


def _roll(words: list[int], now: int) -> int:
    """Begin a new minute when the venue has; return the venue's time, ns."""
    venue_ns = words[_VENUE] + (now - words[_BOOT]) * words[_SPEED] // 1000
    window = venue_ns // MINUTE_NS
    if window != words[_WINDOW]:
        words[_WINDOW], words[_USED], words[_UNSURE] = window, 0, 0
    return venue_ns


def _row(words: list[int], tag: int, *, claim: bool = False) -> int:
    """Return where the account's row begins, 0 when it has none; with `claim` the one longest unused is taken."""
    rows = range(_ROWS, _WORDS, _ROW)
    for row in rows:
        if tag and words[row] == tag:
            return row
    if not claim:
        return 0
    row = min(rows, key=lambda at: words[at + _WINDOW_10S])
    words[row : row + _ROW] = [tag, 0, 0, 0, 0, 0]
    return row


def _learn_counts(words: list[int], ticket: Ticket, venue_ns: int, used: int, ten: int, minute: int) -> None:
    """Take the venue's counts where they are higher than ours; those near a window's edge may belong to the last."""
    late = venue_ns % MINUTE_NS >= EDGE_NS
    if used >= 0 and late and ticket.window == words[_WINDOW]:
        # What was claimed after this request is not in the venue's count yet.
        told = used + words[_CLAIMED] - ticket.claimed
        words[_USED] = told if words[_UNSURE] else max(words[_USED], told)
        words[_UNSURE] = 0
    row = _row(words, ticket.tag)
    if row and venue_ns % (10 * SECOND_NS) >= EDGE_NS:
        words[row + _COUNT_10S] = max(words[row + _COUNT_10S], ten)
        words[row + _COUNT_1M] = max(words[row + _COUNT_1M], minute if late else 0)


def _silence_ns(words: list[int], venue_ns: int, status: int, retry_after: str, text: str) -> int:
    """Return for how long (real ns) the venue wants no request, from its header, its words, or what is documented."""
    retry_after = retry_after.strip()
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 9:
        return int(retry_after) * SECOND_NS
    if named := _BANNED_UNTIL.search(text):
        return max(0, int(named[1]) * MS - venue_ns) * 1000 // words[_SPEED]
    if status == 418:
        return int(BAN_S * SECOND_NS)
    return (MINUTE_NS - venue_ns % MINUTE_NS) * 1000 // words[_SPEED]


def _share(priority: Priority) -> str:
    return f"{priority.name.lower()} requests may use {CEILING[priority]} %"


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else -1


def _sweep(path: Path) -> None:
    """Remove the records of other venues that no process uses and that bar nothing any more."""
    now = boottime_ns()
    for other in path.parent.glob("*") if path.parent.is_dir() else ():
        if other == path or (fd := unused(other)) < 0:
            continue
        try:
            raw = os.pread(fd, 8 * _WORDS, 0)
            until = int.from_bytes(raw[8 * _UNTIL : 8 * _UNTIL + 8], "little", signed=True)
            if until < now:
                with suppress(OSError):
                    other.unlink()
        finally:
            os.close(fd)
