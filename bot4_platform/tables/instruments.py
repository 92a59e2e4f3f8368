"""What the integers of all other tables count: ticks, lots, fees and filters of each market, and when they held."""

from bot4_platform.tables.table import Table

# Of bot4_live.instrument.Instrument, by its names; `_e8` are 1e-8 of the unit, quantities lots.
RULES = {
    "tick_e8": "Int64", "lot_e8": "Int64", "min_qty": "Int64", "max_qty": "Int64", "min_notional_e8": "Int64",
    "maker_fee_e8": "Int64", "taker_fee_e8": "Int64", "price_digits": "Int64", "qty_digits": "Int64",
    "contract_e8": "Int64", "inverse": "Boolean", "funding_interval_s": "Int64",
}  # fmt: skip

INSTRUMENTS = {
    "instrument_sightings": Table(
        "what was said of an instrument and when: by the journal, or by a venue's listing",
        {"market": "String", "seen_ns": "Int64", "source": "String", **RULES},
        ("market", "seen_ns", "source"), ("market", "seen_ns", "source"), partitioned=False,
    ),
    "instruments": Table(
        "versions of each market's instrument: it holds from `valid_from_ns` until before `valid_to_ns` (null: still); "
        "the first one is taken to have held before it was seen; `instrument` is the name that it has at all venues "
        "(BTC-USDT, BTC-USDT-PERP, BTC-USD-20240927)",
        {"market": "String", "version": "Int64", "valid_from_ns": "Int64", "valid_to_ns": "Int64", "seen_ns": "Int64",
         "source": "String", **RULES, "instrument": "String"},
        ("market", "version"), ("market", "version"), {"instrument": 2}, partitioned=False,
    ),
}  # fmt: skip
