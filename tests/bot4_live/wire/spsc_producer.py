"""The producing process of test_spsc: numbered entries of many sizes, as fast as the ring takes them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from numba import njit
from numba.np.numpy_support import carray

from bot4_live.kernels import address, pointer
from bot4_live.wire.spsc import SpscRing, push_at

PATIENCE = 2_000  # tries before the other side is let run: it may have no core of its own


@njit
def produce(base: int, data: int, start: int, n: int, patience: int) -> int:
    """Push the entries from start to n until the ring stays full; return the first that was not pushed.

    Entry i has 8 + i % 90 bytes, holds i in its first word and its low byte in every other byte.
    """
    number = carray(pointer(data), 1, np.int64)
    fill = carray(pointer(data), 128, np.uint8)
    for i in range(start, n):
        size = 8 + i % 90
        for k in range(8, size):
            fill[k] = i & 0xFF
        number[0] = i
        full = 0
        while push_at(base, data, size, 7, -i) == 0:
            full += 1
            if full > patience:
                return i
    return n


if __name__ == "__main__":
    ring = SpscRing(Path(sys.argv[1]))
    data = np.zeros(128, np.uint8)
    done, n = 0, int(sys.argv[2])
    while (done := produce(ring.base, address(data), done, n, PATIENCE)) < n:
        os.sched_yield()
