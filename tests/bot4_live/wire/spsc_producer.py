"""The producing process of test_spsc: numbered entries of many sizes, as fast as the ring takes them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numba import njit
from numba.np.numpy_support import carray

from bot4_live.kernels import address, pointer
from bot4_live.wire.spsc import SpscRing, push_at


@njit
def produce(base: int, data: int, n: int) -> int:
    """Push n entries; entry i has 8 + i % 90 bytes, holds i in its first word and its low byte in every other byte."""
    full = 0
    number = carray(pointer(data), 1, np.int64)
    fill = carray(pointer(data), 128, np.uint8)
    for i in range(n):
        size = 8 + i % 90
        for k in range(8, size):
            fill[k] = i & 0xFF
        number[0] = i
        while push_at(base, data, size, 7, -i) == 0:
            full += 1
    return full


if __name__ == "__main__":
    ring = SpscRing(Path(sys.argv[1]))
    data = np.zeros(128, np.uint8)
    print(produce(ring.base, address(data), int(sys.argv[2])))
