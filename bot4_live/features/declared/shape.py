"""The shape of the book: how much lies how far behind the best prices."""

from __future__ import annotations

from bot4_live.features.declared.feature import Feature, S

SHAPE: tuple[Feature, ...] = (
    Feature(
        "imbalance_3", "book", "now", 0, "ratio -1..1", "imbalance_1 on the summed sizes of the best 3 levels a side",
        "Cartea, Jaimungal & Penalva 2015, section 12.2, over 3 levels",
    ),
    Feature(
        "imbalance_10", "book", "now", 0, "ratio -1..1", "the same on the best 10 levels a side",
        "Cartea, Jaimungal & Penalva 2015, section 12.2, over 10 levels",
    ),
    Feature(
        "depth_slope_bid", "book", "now", 0, "quote per bp",
        "notional at mid of the best 10 bids / distance of the last of them from mid",
        "after Naes & Skjeltorp 2006, J. Financial Markets 9(4)",
    ),
    Feature(
        "depth_slope_ask", "book", "now", 0, "quote per bp", "the same of the asks",
        "after Naes & Skjeltorp 2006, J. Financial Markets 9(4)",
    ),
    Feature(
        "size_levels", "signal", "now", 0, "levels 1..20",
        "effective number of levels: (sum of sizes)^2 / sum of squares over the best 10 levels a side; 1 = one level "
        "holds everything, 20 = all are equal (the exponential of Renyi's entropy of order 2)",
        "Simpson 1949, Nature 163; Renyi 1961, 4th Berkeley Symposium",
    ),
    Feature(
        "pressure", "signal", "now", 0, "ratio -1..1",
        "(bids - asks) / (bids + asks) of the best 10 levels a side, each size divided by its distance from mid",
        "after Cao, Hansch & Wang 2009, J. Futures Markets 29(1)",
    ),
    Feature(
        "spread_to_median", "book", "rolling", 60 * S, "ratio",
        "spread now / median of the spreads at the ends of the last 60 bars of 1 s; 1 before the first",
        "definition",
    ),
)  # fmt: skip
