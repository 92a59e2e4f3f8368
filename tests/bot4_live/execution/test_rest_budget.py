"""The budget that all processes share: rules, damage, holders that die or stand still, and what it costs."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bot4_live.execution.rest_budget import (
    CEILING,
    EDGE_NS,
    MINUTE_NS,
    ORDER_CEILING,
    SECOND_NS,
    Priority,
    RestBudget,
    Throttled,
    account_tag,
    budget_path,
)
from bot4_live.execution.shared_record import PATIENCE_S, SharedRecord

URL = "http://127.0.0.1:8411"
WORKER = Path(__file__).with_name("budget_worker.py")
TAG = account_tag("key")
BASE, LATER = 1_000 * MINUTE_NS, 29_000_000 * MINUTE_NS


class Clock:
    def __init__(self):
        self.now = BASE

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def join(tmp_path, clock):
    """Return a function that makes one more user of the same budget; its minutes are those of `clock`."""
    made = []

    def build():
        budget = RestBudget(URL, directory=tmp_path, clock=clock)
        budget.set_clock(clock.now, clock.now)
        made.append(budget)
        return budget

    yield build
    for budget in made:
        budget.close()


def drain(budget, priority, weight=1):
    granted = 0
    try:
        while True:
            budget.claim(weight, priority)
            granted += weight
    except Throttled as stop:
        return granted, stop


def test_each_class_may_spend_its_share_whoever_claims(join):
    one, two = join(), join()
    spent = 0
    for priority in sorted(CEILING, reverse=True):
        granted, stop = drain(random.choice((one, two)), priority)
        spent += granted
        assert spent == 2400 * CEILING[priority] // 100
        assert "of 2400" in str(stop)
        assert 60 <= stop.wait_s <= 61.02
    for _ in range(1000):  # our count never holds up a kill
        two.claim(1, Priority.KILL)
    assert one.state()["used"] == spent + 1000


def test_a_new_minute_of_the_venue_is_a_new_budget(join, clock):
    one, two = join(), join()
    drain(one, Priority.CANCEL)
    clock.now += MINUTE_NS - 1
    with pytest.raises(Throttled):
        two.claim(1, Priority.CANCEL)
    clock.now += 1
    two.claim(1, Priority.CANCEL)
    assert one.state()["used"] == 1


def test_minutes_are_the_venues_and_last_as_its_clock_runs(join, clock):
    one, two = join(), join()
    two.set_clock(BASE + 40 * SECOND_NS, clock.now, 8000)
    drain(one, Priority.ORDER)
    with pytest.raises(Throttled) as stopped:
        one.claim(1, Priority.ORDER)
    assert 2.5 <= stopped.value.wait_s <= 2.8  # 20 s of a clock that runs at 8x
    clock.now += int(2.5 * SECOND_NS)
    one.claim(1, Priority.ORDER)


def test_orders_leave_room_for_their_cancels(join):
    one, two = join(), join()
    drain(one, Priority.ORDER)
    with pytest.raises(Throttled, match="order requests may use 80 %"):
        two.claim(0, Priority.ORDER, TAG, order=True)
    two.claim(1, Priority.CANCEL)


def test_orders_are_counted_by_account_and_span(join, clock):
    one, two = join(), join()
    for _ in range(300 * ORDER_CEILING // 100):
        random.choice((one, two)).claim(0, Priority.ORDER, TAG, order=True)
    with pytest.raises(Throttled, match=r"orders are spent \(270 of 300 in 10 s\)") as stopped:
        one.claim(0, Priority.ORDER, TAG, order=True)
    assert 10 <= stopped.value.wait_s <= 11.02
    one.claim(0, Priority.ORDER, account_tag("another"), order=True)
    two.claim(0, Priority.KILL, TAG, order=True)
    for count in (270, 270, 1200 * ORDER_CEILING // 100 - 271 - 540):
        clock.now += 10 * SECOND_NS
        for _ in range(count):
            one.claim(0, Priority.ORDER, TAG, order=True)
    with pytest.raises(Throttled, match="1080 of 1200 in 60 s"):
        two.claim(0, Priority.ORDER, TAG, order=True)


def test_more_accounts_than_rows_forget_the_oldest_only(join, clock):
    budget = join()
    for number in range(30):
        budget.claim(0, Priority.ORDER, account_tag(str(number)), order=True)
        clock.now += 10 * SECOND_NS
    ticket = budget.claim(0, Priority.ORDER, account_tag("29"), order=True)
    budget.note(ticket, 200, {"X-MBX-ORDER-COUNT-10S": "299"})  # near the edge of the span: not believed
    budget.claim(0, Priority.ORDER, account_tag("29"), order=True)
    clock.now += EDGE_NS
    budget.note(ticket, 200, {"X-MBX-ORDER-COUNT-10S": "299"})
    with pytest.raises(Throttled, match="299 of 300"):
        budget.claim(0, Priority.ORDER, account_tag("29"), order=True)


def test_the_venues_higher_count_wins(join, clock):
    one, two = join(), join()
    ticket = one.claim(5, Priority.QUERY)
    two.claim(7, Priority.QUERY)  # after it: not in the venue's count yet
    one.note(ticket, 200, {"X-MBX-USED-WEIGHT-1M": "900"})
    assert two.state()["used"] == 12, "the minute has just begun: that may be the count of the last one"
    clock.now += EDGE_NS
    one.note(ticket, 200, {"X-MBX-USED-WEIGHT-1M": "900"})
    assert two.state()["used"] == 907
    one.note(ticket, 200, {"X-MBX-USED-WEIGHT-1M": "3"})
    assert two.state()["used"] == 907
    clock.now += MINUTE_NS
    one.note(ticket, 200, {"X-MBX-USED-WEIGHT-1M": "2000"})  # an answer from the minute before
    assert two.state()["used"] == 0


@pytest.mark.parametrize(
    ("status", "headers", "text", "seconds"),
    [
        (429, {"Retry-After": "17"}, "", 17),
        (429, {}, "", 60),  # until the minute is over
        (418, {"Retry-After": "180"}, "", 180),
        (418, {"Retry-After": "soon"}, f"IP(1.2.3.4) banned until {LATER // 10**6 + 240_000}. Please", 240),
        (418, {}, "", 120),
    ],
)  # fmt: skip
def test_a_silence_is_for_all_and_for_every_class(join, clock, status, headers, text, seconds):
    clock.now = LATER
    words = "banned this address" if status == 418 else "asked for silence"
    one, two = join(), join()
    one.note(one.claim(1, Priority.QUERY), status, headers, -1003, text)
    for budget in (one, two):
        for priority in Priority:
            with pytest.raises(Throttled, match=words) as stop:
                budget.claim(1, priority)
            assert seconds <= stop.value.wait_s <= seconds * 1.1
            assert stop.value.banned == (status == 418)
    assert two.state()["banned"] == (status == 418)
    clock.now += seconds * SECOND_NS - 1
    with pytest.raises(Throttled):
        two.claim(1, Priority.KILL)
    clock.now += 1
    two.claim(1, Priority.SNAPSHOT)


def test_a_shorter_silence_does_not_end_a_longer_one(join, clock):
    budget = join()
    ticket = budget.claim(1, Priority.QUERY)
    budget.note(ticket, 418, {"Retry-After": "300"})
    budget.note(ticket, 429, {"Retry-After": "2"})
    assert budget.state()["silent_for_s"] == 300
    assert budget.state()["banned"]


def test_waits_are_jittered(join):
    budget = join()
    budget.note(budget.claim(1, Priority.QUERY), 429, {"Retry-After": "10"})
    waits = set()
    for _ in range(20):
        with pytest.raises(Throttled) as stop:
            budget.claim(1, Priority.QUERY)
        waits.add(stop.value.wait_s)
    assert len(waits) == 20


@pytest.mark.parametrize("damage", [b"", b"\0" * 4096, b"garbage", os.urandom(600), "flip"])
def test_a_damaged_record_heals_half_spent_until_the_venue_tells(join, clock, tmp_path, damage, caplog):
    one, two = join(), join()
    one.claim(2, Priority.QUERY)
    path = budget_path(URL, tmp_path)
    if damage == "flip":
        raw = bytearray(path.read_bytes())
        raw[70] ^= 1
        damage = bytes(raw)
    path.write_bytes(damage)
    ticket = two.claim(2, Priority.QUERY)
    assert one.state()["used"] == (2 if damage == b"" else 1202)
    assert ("was damaged" in caplog.text) == (damage != b"")
    one.set_clock(clock.now, clock.now)
    clock.now += EDGE_NS
    fresh = two.claim(2, Priority.QUERY)
    one.note(fresh, 200, {"X-MBX-USED-WEIGHT-1M": "10"})
    assert two.state()["used"] <= 1204
    assert ticket.weight == 2


def test_a_removed_file_is_noticed(join, tmp_path, monkeypatch):
    one = join()
    one.claim(1, Priority.QUERY)
    budget_path(URL, tmp_path).unlink()
    two = join()
    two.claim(10, Priority.QUERY)
    monkeypatch.setattr("bot4_live.execution.shared_record._LOOK_NS", 0)
    one.claim(1, Priority.QUERY)
    assert two.state()["used"] == 11


def test_records_that_nobody_uses_are_swept(join, tmp_path):
    for port in range(5):
        RestBudget(f"http://127.0.0.1:{port + 1}", directory=tmp_path).close()
    barred = RestBudget("http://127.0.0.1:99", directory=tmp_path)
    barred.note(barred.claim(1, Priority.QUERY), 418, {"Retry-After": "3600"})
    barred.close()
    used = RestBudget("http://127.0.0.1:98", directory=tmp_path)
    mine = join()
    assert {path.name for path in tmp_path.iterdir()} == {"127.0.0.1-99", "127.0.0.1-98", "127.0.0.1-8411"}
    used.close()
    mine.claim(1, Priority.QUERY)


def test_no_key_is_in_the_record(join, tmp_path):
    budget = join()
    budget.claim(0, Priority.ORDER, account_tag("a-very-public-key"), order=True)
    assert b"a-very" not in budget_path(URL, tmp_path).read_bytes()
    assert account_tag("") == 0


def test_threads_lose_no_update(tmp_path):
    record = SharedRecord(tmp_path / "record", 4)
    record.write([0, 0, 0, 0])

    def count():
        done = 0
        while done < 500:
            if record.enter():
                words = record.read()
                words[1] += 1
                record.write(words)
                record.leave()
                done += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert record.read() == [0, 2000, 0, 0]
    record.close()


# Several processes.


class Worker:
    def __init__(self, directory):
        command = [sys.executable, str(WORKER), URL, str(directory)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.answer() == "ready"

    def answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def tell(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def ask(self, **command):
        self.tell(**command)
        return self.answer()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def test_killed_and_frozen_holders_hold_nobody_up(tmp_path):
    """Processes that claim as fast as they can are killed or stopped in the midst of it, again and again."""
    budget = RestBudget(URL, directory=tmp_path, clock=lambda: 1)
    budget.set_clock(BASE, 0)
    budget.learn([{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 10**9}])
    workers = [Worker(tmp_path) for _ in range(3)]
    slowest = 0.0
    for round_ in range(6):
        victim = workers[round_ % 3]
        victim.tell(do="storm", now=1)
        deadline = time.monotonic() + 10
        before = budget.state()["used"]
        while budget.state()["used"] - before < 50:
            assert time.monotonic() < deadline
        os.kill(victim.process.pid, signal.SIGKILL if round_ % 2 else signal.SIGSTOP)
        for _ in range(200):
            began = time.monotonic()
            try:
                budget.claim(1, Priority.CANCEL)
            finally:
                slowest = max(slowest, time.monotonic() - began)
        victim.end()
        workers[round_ % 3] = Worker(tmp_path)
        budget.claim(1, Priority.ORDER)
    assert budget._record.read() is not None, "the record is whole"
    for worker in workers:
        worker.end()
    assert slowest < 0.5, f"{PATIENCE_S} s is the patience; the rest is the machine"
    budget.close()


def test_processes_never_spend_more_than_there_is(tmp_path):
    budget = RestBudget(URL, directory=tmp_path, clock=lambda: 1)
    budget.set_clock(BASE, 0)
    workers = [Worker(tmp_path) for _ in range(3)]
    for worker in workers:
        worker.tell(do="storm", now=1)
    granted = [worker.answer() for worker in workers]
    assert sum(granted) == 2400 * CEILING[Priority.ORDER] // 100
    for worker in workers:
        worker.end()
    budget.close()


class Venue(RuleBasedStateMachine):
    """Real processes against a venue that counts: they stay within its limits, and hear its word at once."""

    workers: ClassVar[list[Worker]] = []
    directory = Path()
    numbers = itertools.count()

    def __init__(self):
        super().__init__()
        self.now = BASE
        self.granted = {}  # minute -> [(priority, weight)]
        self.venue_used = {}
        self.silent_until = 0
        self.tickets = []

    @initialize(speed=st.sampled_from([500, 1000, 8000]))
    def begin(self, speed):
        self.mine = self.directory / str(next(self.numbers))
        for worker in self.workers:
            worker.ask(do="join", directory=str(self.mine))
        self.speed = speed
        self.workers[0].ask(do="clock", now=self.now, venue_ns=BASE, speed_milli=speed)

    @property
    def minute(self):
        return (BASE + (self.now - BASE) * self.speed // 1000) // MINUTE_NS

    @rule(
        who=st.integers(0, 2), priority=st.sampled_from(list(Priority)),
        weight=st.sampled_from([0, 1, 5, 20, 40, 400]), order=st.booleans(),
    )  # fmt: skip
    def claim(self, who, priority, weight, order):
        answer = self.workers[who].ask(do="claim", now=self.now, weight=weight, priority=priority, order=order)
        used = sum(w for _, w in self.granted.get(self.minute, []))
        if "ticket" in answer:
            assert self.now >= self.silent_until
            if priority != Priority.KILL:
                assert used + max(weight, 1) <= 2400 * CEILING[priority] // 100
            self.granted.setdefault(self.minute, []).append((priority, weight))
            self.venue_used[self.minute] = self.venue_used.get(self.minute, 0) + weight
            self.tickets.append((who, answer["ticket"], self.minute, weight))
        elif self.now < self.silent_until:
            left = (self.silent_until - self.now) / 1e9
            assert left <= answer["wait_s"] <= left + 1.01
        else:
            assert priority != Priority.KILL
            rest = (MINUTE_NS - (BASE + (self.now - BASE) * self.speed // 1000) % MINUTE_NS) * 1000 / self.speed / 1e9
            assert used + max(weight, 1) > 2400 * CEILING[priority] // 100 or order or self.corrected()
            assert answer["wait_s"] <= rest + 1.02

    def corrected(self):
        return self.venue_used.get(self.minute, 0) > sum(w for _, w in self.granted.get(self.minute, []))

    @precondition(lambda self: self.tickets)
    @rule(extra=st.sampled_from([0, 0, 300]), status=st.sampled_from([200] * 6 + [429, 418]), wait=st.integers(0, 100))
    def answer(self, extra, status, wait):
        who, ticket, minute, _ = self.tickets.pop()
        if minute == self.minute:
            self.venue_used[minute] += extra  # somebody else asks from this address too
        headers = {"X-MBX-USED-WEIGHT-1M": str(self.venue_used[minute])}
        if status != 200:
            headers["Retry-After"] = str(wait)
            self.silent_until = max(self.silent_until, self.now + wait * SECOND_NS)
        self.workers[who].ask(do="note", now=self.now, ticket=ticket, status=status, headers=headers)

    @precondition(lambda self: self.tickets)
    @rule()
    def never_left(self):
        who, ticket, minute, weight = self.tickets.pop()
        self.workers[who].ask(do="give_back", now=self.now, ticket=ticket)
        if minute == self.minute:
            self.granted[minute].append((Priority.KILL, -weight))
            self.venue_used[minute] -= weight

    @rule(seconds=st.sampled_from([0.001, 0.4, 3.0, 31.0, 70.0]))
    def wait(self, seconds):
        self.now += int(seconds * 1e9)

    @rule(who=st.integers(0, 2))
    def die(self, who):
        self.workers[who].end()
        self.workers[who] = Worker(self.mine)
        self.tickets = [ticket for ticket in self.tickets if ticket[0] != who]

    @invariant()
    def a_kill_is_never_starved(self):
        if self.workers and self.now >= self.silent_until and hasattr(self, "speed"):
            assert "ticket" in self.workers[0].ask(do="claim", now=self.now, weight=0, priority=0, order=False)


def test_the_rules_hold_for_several_processes(tmp_path):
    Venue.directory = tmp_path
    Venue.workers = [Worker(tmp_path) for _ in range(3)]
    try:
        from hypothesis.stateful import run_state_machine_as_test

        run_state_machine_as_test(
            Venue,
            settings=settings(
                max_examples=6, stateful_step_count=35, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
    finally:
        for worker in Venue.workers:
            worker.end()
