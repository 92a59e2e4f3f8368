"""What the compiled parser knows of an instrument, and its own memory: int64 words that the kernels address."""

from __future__ import annotations

import numpy as np

from bot4_live.events import SCHEMA, Source
from bot4_live.instrument import E8, Instrument

_FIXED = (SCHEMA << 16) | (int(Source.MARKET_STREAM) << 24)
_SYMBOL_WORDS = 8

# Places in it, in bytes.
C_TICK, C_LOT, C_WORD, C_PRICE_DIGITS, C_QTY_DIGITS, C_SPOT, C_SYMBOL_SIZE = (8 * i for i in range(7))
C_SYMBOL = 64
C_LEVEL = C_SYMBOL + 8 * (_SYMBOL_WORDS + 1)  # 32 bytes for each length of a level's price, see level_text
LONGEST_PRICE = 16
C_VALUES = C_LEVEL + 32 * (LONGEST_PRICE + 1)  # 16 bytes for each value of a frame, see frame_values
C_QUOTE = C_VALUES + 16 * 16  # the forms of the last quote, trade and diff, see frame_form
FORM_BYTES = 2048
C_TRADE = C_QUOTE + FORM_BYTES
C_DIFF = C_TRADE + FORM_BYTES
CONFIG_BYTES = C_DIFF + FORM_BYTES


def _digits_of(unit_e8: int) -> int:
    """Return n for a unit of 10**-n, -1 for a unit that is no power of ten or above 1."""
    return next((n for n in range(9) if unit_e8 * 10**n == E8), -1)


def parser_config(instrument: Instrument) -> np.ndarray:
    """Return what the kernels know of an instrument, int64 words; they also remember there what frames look like.

    Raises ValueError for a symbol longer than 64 bytes.
    """
    symbol = instrument.symbol.encode()
    if not 0 < len(symbol) <= 8 * _SYMBOL_WORDS:
        raise ValueError(f"symbol of {len(symbol)} bytes; 1 to {8 * _SYMBOL_WORDS} can be parsed")
    config = np.zeros(CONFIG_BYTES // 8, np.int64)
    config[: C_SYMBOL_SIZE // 8 + 1] = (
        instrument.tick_e8,
        instrument.lot_e8,
        _FIXED | instrument.id << 32 | instrument.version << 48,
        _digits_of(instrument.tick_e8),
        _digits_of(instrument.lot_e8),
        instrument.venue == "binance_spot",
        len(symbol),
    )
    config[C_SYMBOL // 8 :].view(np.uint8)[: len(symbol)] = np.frombuffer(symbol, np.uint8)
    for length in range(LONGEST_PRICE + 1):
        form = b"." * length + b'","'
        at = C_LEVEL + 32 * length
        config.view(np.uint8)[at : at + len(form)] = np.frombuffer(form, np.uint8)
    return config
