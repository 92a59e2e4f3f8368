"""Random processes of the generated market: clustered arrivals and clustered volatility, seeded.

Only `random.Random` is used, whose sequence for a seed is the same on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

BUY, SELL, BOOK = 0, 1, 2


@dataclass
class Arrivals:
    """Arrival times of market orders and book changes.

    Market orders are a bivariate Hawkes process with exponential kernels (Hawkes 1971): intensity
    `mu + sum over past events of a * exp(-beta * age)`, a = `own` for the same side and `cross` for the other, so
    the branching ratio is (own + cross) / beta. Book changes arrive at `book + book_per_order * excitation`.
    Simulated by thinning (Ogata 1981): intensities only fall between events, so the last one bounds them.
    """

    random: Random
    mu: float  # market orders per second and side, unprovoked
    book: float  # book changes per second
    own: float = 10.5
    cross: float = 1.5
    beta: float = 16.0  # per second: a burst lasts some 60 ms
    book_per_order: float = 1.0
    excitation: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def next(self, activity: float) -> tuple[float, int]:
        """Return (seconds until the next event, BUY | SELL | BOOK); `activity` scales the unprovoked rates."""
        draw, excitation = self.random.random, self.excitation
        waited = 0.0
        base_orders = 2.0 * self.mu * activity
        base = base_orders + self.book * activity
        while True:
            total = excitation[0] + excitation[1]
            bound = base + total * (1.0 + self.book_per_order)
            step = -math.log(1.0 - draw()) / bound
            waited += step
            decay = math.exp(-self.beta * step)
            excitation[0] *= decay
            excitation[1] *= decay
            at = draw() * bound
            rate = self.mu * activity + excitation[0]
            if at < rate:
                excitation[0] += self.own
                excitation[1] += self.cross
                return waited, BUY
            at -= rate
            rate = self.mu * activity + excitation[1]
            if at < rate:
                excitation[1] += self.own
                excitation[0] += self.cross
                return waited, SELL
            at -= rate
            if at < self.book * activity + (excitation[0] + excitation[1]) * self.book_per_order:
                return waited, BOOK


@dataclass
class Volatility:
    """Volatility of the efficient price, return per sqrt(second).

    GARCH(1,1) (Bollerslev 1986) on returns of `window` seconds, h' = omega + alpha r^2 + beta h, times a two-state
    Markov regime (calm, stormy) with exponential durations, plus rare jumps (Merton 1976): news that moves the price
    past quotes which were fair a moment before.
    """

    random: Random
    level: float = 6e-5
    window: float = 0.25
    alpha: float = 0.07
    beta: float = 0.91
    regimes: tuple[float, float] = (0.8, 2.0)
    durations: tuple[float, float] = (60.0, 20.0)
    jumps: float = 0.08  # per second
    jump_size: float = 3.5e-4  # standard deviation of a jump, return

    def __post_init__(self) -> None:
        """Start calm, at the long-run variance."""
        self.variance = self.level**2 * self.window
        self.regime = 0
        self._elapsed = 0.0
        self._return = 0.0
        self._left = self.random.expovariate(1.0 / self.durations[0])

    @property
    def sigma(self) -> float:
        """Return the present volatility per sqrt(second)."""
        return math.sqrt(self.variance / self.window) * self.regimes[self.regime]

    def draw(self, seconds: float) -> float:
        """Return the efficient price's return over `seconds` and move the process on."""
        sigma = self.sigma
        change = sigma * math.sqrt(seconds) * self.random.gauss(0.0, 1.0)
        self._return += change / self.regimes[self.regime]
        if self.random.random() < self.jumps * seconds:
            change += self.random.gauss(0.0, self.jump_size)
        self._elapsed += seconds
        if self._elapsed >= self.window:
            omega = (1.0 - self.alpha - self.beta) * self.level**2 * self.window
            self.variance = omega + self.alpha * self._return**2 + self.beta * self.variance
            self._elapsed -= self.window
            self._return = 0.0
        self._left -= seconds
        if self._left <= 0.0:
            self.regime = 1 - self.regime
            self._left = self.random.expovariate(1.0 / self.durations[self.regime])
        return change
