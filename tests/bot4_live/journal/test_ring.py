from collections import deque
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bot4_live.journal.ring import Ring


class RingModel(RuleBasedStateMachine):
    """The ring against a queue; the consumer may be replaced at any moment (it reads only what was committed)."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "ring"
        self.producer = Ring.create(path, 1024)
        self.consumer = Ring(path)
        self.queue: deque[tuple[bytes, int, int]] = deque()
        self.position = 0

    @rule(payload=st.binary(max_size=400), kind=st.integers(0, 100), aux=st.integers(-(2**63), 2**63 - 1))
    def push(self, payload: bytes, kind: int, aux: int) -> None:
        used = sum((16 + len(p) + 15) & ~15 for p, _, _ in self.queue)
        if self.producer.push(payload, kind, aux):
            self.queue.append((payload, kind, aux))
        else:
            assert used + 2 * 432 > 1024 - 432, "refused though there was room"

    @rule(count=st.integers(1, 5), commit=st.booleans())
    def take(self, count: int, commit: bool) -> None:
        position = self.consumer.tail
        for i in range(count):
            entry = self.consumer.peek(position)
            if i >= len(self.queue):
                assert entry is None
                break
            assert entry is not None
            assert entry[:3] == self.queue[i]
            position = entry[3]
        else:
            i = count
        if commit:
            taken = min(count, len(self.queue))
            self.consumer.commit(position, (taken, position))
            assert self.consumer.consumer_words[:2] == (taken, position)
            for _ in range(taken):
                self.queue.popleft()

    @rule()
    def replace_consumer(self) -> None:
        self.consumer.unmap()
        self.consumer = Ring(self.producer.path)

    @invariant()
    def same_backlog(self) -> None:
        assert self.producer.backlog == self.consumer.backlog
        assert (self.producer.backlog == 0) == (not self.queue)

    def teardown(self) -> None:
        self.producer.unmap()
        self.consumer.unmap()
        self._folder.cleanup()


TestRing = RingModel.TestCase
TestRing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_an_entry_that_can_never_fit_is_an_error(tmp_path: Path) -> None:
    ring = Ring.create(tmp_path / "ring", 1024)
    with pytest.raises(ValueError, match="does not fit"):
        ring.push(b"x" * 600)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    path.write_bytes(b"\0" * 8192)
    with pytest.raises(ValueError, match="not a ring"):
        Ring(path)
