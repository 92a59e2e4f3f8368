"""The panel: our debounce, gpiozero's pins, and a hand from outside."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot4_live.safety import mock_hand
from bot4_live.safety.panel import BUTTON, BUZZER, DEBOUNCE_NS, RED, Debounce, Lights, Panel

MS = 1_000_000


@given(st.lists(st.tuples(st.integers(1, 120), st.integers(1, 120)), max_size=12))
def test_one_press_for_each_contact_of_50_ms(contacts: list[tuple[int, int]]) -> None:
    debounce, now, presses = Debounce(), 0, []
    for down_ms, up_ms in contacts:
        debounce.edge(True, now)
        for _ in range(down_ms):
            now += MS
            if (at := debounce.take(now)) is not None:
                presses.append(at)
        debounce.edge(False, now)
        for _ in range(up_ms):
            now += MS
            assert debounce.take(now) is None
    assert len(presses) == sum(down_ms >= 50 for down_ms, _ in contacts)


def test_a_press_is_dated_when_it_became_certain() -> None:
    debounce = Debounce()
    debounce.edge(True, 7)
    debounce.edge(True, 20)  # a second edge of the same contact moves nothing
    assert debounce.due_ns() == 7 + DEBOUNCE_NS
    assert debounce.take(7 + DEBOUNCE_NS - 1) is None
    assert debounce.take(7 + DEBOUNCE_NS + 900) == 7 + DEBOUNCE_NS
    assert debounce.take(2**60) is None


def test_the_button_is_read_through_gpiozero() -> None:
    now, edges = [0], []
    panel = Panel("mock", lambda: edges.append(now[0]), lambda: now[0])
    pin = panel.factory.pin(f"GPIO{BUTTON}")
    try:
        pin.drive_low()
        now[0] = 20 * MS
        pin.drive_high()
        now[0] = 30 * MS
        pin.drive_low()
        assert edges == [0, 20 * MS, 30 * MS]
        assert panel.press_due_ns() == 80 * MS
        assert panel.take_press(79 * MS) is None
        assert panel.take_press(81 * MS) == 80 * MS
        assert panel.take_press(900 * MS) is None
    finally:
        panel.close()


def test_lights_are_what_the_pins_say() -> None:
    panel = Panel("mock")
    try:
        assert panel.lights() == Lights()
        shown = Lights(red=True, buzzer=True)
        panel.show(shown)
        panel.show(shown)
        assert panel.lights() == shown
        assert [panel.factory.pin(f"GPIO{n}").state for n in (RED, BUZZER)] == [1, 1]
        panel.show(Lights(green=True))
        assert panel.lights() == Lights(green=True)
    finally:
        panel.close()


def test_a_hand_presses_the_real_pin(tmp_path: Path) -> None:
    wake = threading.Event()
    panel = Panel("mock", wake.set)
    hand = mock_hand.MockHand(panel, tmp_path)
    try:
        mock_hand.move(tmp_path, [(True, 30), (False, 5), (True, 30)])
        time.sleep(0.06)
        assert panel.press_due_ns() is None
        presser = threading.Thread(target=mock_hand.press, args=(tmp_path, 150))
        presser.start()
        deadline = time.monotonic() + 5
        while (pressed := panel.take_press(time.clock_gettime_ns(time.CLOCK_BOOTTIME))) is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        assert pressed > 0
        presser.join()
        with pytest.raises(ValueError, match="pattern"):
            mock_hand.move(tmp_path, [(True, 60_000)])
    finally:
        hand.close()
        panel.close()
    with pytest.raises(ConnectionError, match="bot4 watchdog"):
        mock_hand.press(tmp_path)


def test_no_gpio_here_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpiozero

    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "rpigpio")
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    with pytest.raises(OSError, match="--panel mock"):
        Panel("gpio")
