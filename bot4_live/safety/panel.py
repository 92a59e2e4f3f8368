"""The GPIO panel (S1): kill button 17, LEDs green 22, yellow 23, red 24, buzzer 25 (BCM numbers), by gpiozero.

Debouncing is ours: the button counts as pressed once it was down for 50 ms without a break, because gpiozero's
`bounce_time` does nothing on its mock pins and behaves differently between its pin libraries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from bot4_live.clock import boottime_ns

BUTTON, GREEN, YELLOW, RED, BUZZER = 17, 22, 23, 24, 25
DEBOUNCE_NS = 50_000_000


class Lights(NamedTuple):
    """What the panel shows."""

    green: bool = False
    yellow: bool = False
    red: bool = False
    buzzer: bool = False


class Debounce:
    """Turn edges into presses: one press per unbroken contact of at least `hold_ns`."""

    def __init__(self, hold_ns: int = DEBOUNCE_NS) -> None:
        self.hold_ns = hold_ns
        self._since: int | None = None
        self._counted = False

    def edge(self, down: bool, now_ns: int) -> None:
        """Take in a change of the contact."""
        if not down:
            self._since = None
        elif self._since is None:
            self._since, self._counted = now_ns, False

    def due_ns(self) -> int | None:
        """Return when the contact now made will count as a press; None when there is nothing to wait for."""
        return None if self._since is None or self._counted else self._since + self.hold_ns

    def take(self, now_ns: int) -> int | None:
        """Return the instant at which a press became certain, once a press; None while there is none."""
        due = self.due_ns()
        if due is None or now_ns < due:
            return None
        self._counted = True
        return due


class Panel:
    """The panel on `kind` "mock" (gpiozero's MockFactory) or "gpio" (the machine's pins).

    `on_edge` is called from gpiozero's thread at every change of the button. Raises OSError where there is no GPIO.
    """

    def __init__(
        self, kind: str, on_edge: Callable[[], None] = lambda: None, clock: Callable[[], int] = boottime_ns
    ) -> None:
        import gpiozero
        from gpiozero.pins.mock import MockFactory

        self.kind, self._clock, self._on_edge = kind, clock, on_edge
        self._lock = threading.Lock()
        self._debounce = Debounce()
        if kind == "mock":
            self.factory: Any = MockFactory()
        else:
            try:
                gpiozero.Device.ensure_pin_factory()
            except Exception as error:  # gpiozero raises what its pin library raises
                raise OSError(f"no GPIO here ({error}); start with --panel mock") from error
            self.factory = gpiozero.Device.pin_factory
        self._button = gpiozero.Button(BUTTON, pull_up=True, bounce_time=None, pin_factory=self.factory)
        self._outputs: list[Any] = [
            *(gpiozero.LED(number, pin_factory=self.factory) for number in (GREEN, YELLOW, RED)),
            gpiozero.Buzzer(BUZZER, pin_factory=self.factory),
        ]
        self._button.when_pressed = lambda: self._edge(True)
        self._button.when_released = lambda: self._edge(False)
        if self._button.is_pressed:  # a button stuck down is a press
            self._edge(True)

    def _edge(self, down: bool) -> None:
        with self._lock:
            self._debounce.edge(down, self._clock())
        self._on_edge()

    def press_due_ns(self) -> int | None:
        """Return when the contact now made will count; None when there is nothing to wait for."""
        with self._lock:
            return self._debounce.due_ns()

    def take_press(self, now_ns: int) -> int | None:
        """Return the CLOCK_BOOTTIME of a debounced press, once a press."""
        with self._lock:
            return self._debounce.take(now_ns)

    def show(self, lights: Lights) -> None:
        """Switch LEDs and buzzer."""
        for output, on in zip(self._outputs, lights, strict=True):
            if bool(output.value) != on:
                output.on() if on else output.off()

    def lights(self) -> Lights:
        """Return what the pins themselves say."""
        return Lights(*(bool(output.value) for output in self._outputs))

    def close(self) -> None:
        """Switch all off and release the pins."""
        self._button.close()
        for output in self._outputs:
            output.close()
        if self.kind == "mock":
            self.factory.close()
