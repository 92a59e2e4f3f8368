"""From quotes and trades to the slow features: mids on a grid, GARCH, fill intensity, and the table Feast serves."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from bot4_platform.beta import beta
from bot4_platform.checks import OWNERS
from bot4_platform.partitions import MARKET_DAYS, MarketDay, market_day
from bot4_platform.resources import Bot4Resource

if TYPE_CHECKING:
    import polars as pl

    from bot4_platform.lake import Lake

BUCKET_S = 1.0  # of the fill intensity: about how long a quote rests
PUBLICATION_LAG_NS = 10**9  # between the last input of a slow feature and its being served

with beta():
    # A window of the past reaches over midnight.
    DAY_AND_EVE = dg.MultiPartitionMapping(
        {
            "day": dg.DimensionPartitionMapping(
                "day", dg.TimeWindowPartitionMapping(start_offset=-1, allow_nonexistent_upstream_partitions=True)
            ),
            "market": dg.DimensionPartitionMapping("market", dg.IdentityPartitionMapping()),
        }
    )


def read_with_eve(lake: "Lake", table: str, part: MarketDay) -> "pl.DataFrame":
    """Return the rows of a day and of the day before where there is one."""
    days = [day for day in (part.shifted(-1).day, part.day) if lake.exists(table, day, part.market)]
    return lake.read(table, days or part.day, part.market)


@dg.asset(
    deps=["quotes"],
    partitions_def=MARKET_DAYS,
    group_name="volatility",
    owners=OWNERS,
    kinds={"parquet", "numpy"},
    code_version="1",
    description="Best bid and ask at every 250 ms of the receive clock: the last quote before it. After 5 s of silence "
    "the grid has a hole, so that no return is taken over a gap.",
)
def mids_250ms(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Sample the quotes of one market day."""
    from bot4_platform.defs.volatility.mids import STEP_NS, sample_last
    from bot4_platform.quarantine.frames import as_judged
    from bot4_platform.reporting import line_plot, written
    from bot4_platform.tables import TABLES

    part = market_day(context)
    lake = bot4.lake()
    quotes = as_judged(lake, part, lake.read("quotes", *part)).sort("recv_ns", "seq")
    time, row = sample_last(quotes["recv_ns"].to_numpy())
    frame = quotes[row].select("seq", "bid_px", "ask_px", "recv_ns")
    frame = TABLES["mids_250ms"].conform(
        frame.with_columns(time_ns=time).with_columns(age_ns=_col("time_ns") - _col("recv_ns")).drop("recv_ns")
    )
    metadata: dict[str, Any] = written(lake.write("mids_250ms", *part, frame))
    if frame.height > 1:
        seconds = (time - time[0]) / 1e9
        mid = (frame["bid_px"] + frame["ask_px"]).to_numpy() / 2
        metadata |= {
            "seconds": float(seconds[-1]),
            "holes": int((frame["time_ns"].diff().drop_nulls() != STEP_NS).sum()),
            "oldest_quote_ms": float(frame["age_ns"].max()) / 1e6,  # type: ignore[arg-type]
            "mid_plot": line_plot(seconds, {"mid": mid}, "ticks", "mid, 250 ms grid"),
        }
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(
    deps=[dg.AssetDep("mids_250ms", partition_mapping=DAY_AND_EVE)],
    partitions_def=MARKET_DAYS,
    group_name="volatility",
    owners=OWNERS,
    kinds={"parquet", "arch"},
    code_version="1",
    description="GARCH(1,1) (Bollerslev 1986) on 250 ms mid returns of the last hour, at each 15-minute mark and at "
    "the end of the data. `sigma` is the mean forecast over the next 15 minutes, as return per sqrt(second). Below "
    "300 returns or without convergence the status is `insufficient` and there is no number.",
)
def garch(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Fit at every mark of one market day."""
    from bot4_platform.defs.volatility.garch import fit_garch
    from bot4_platform.defs.volatility.mids import CADENCE_NS, STEP_NS, fit_times, returns, window
    from bot4_platform.reporting import table, when, written
    from bot4_platform.tables import TABLES

    part = market_day(context)
    lake = bot4.lake()
    marks = fit_times(lake.read("mids_250ms", *part)["time_ns"].to_numpy())
    time, mid = grid(lake, part)
    rows = []
    for mark in marks:
        rows_in = window(time, mark)
        fit = fit_garch(returns(time[rows_in], mid[rows_in]), STEP_NS / 1e9, CADENCE_NS / 1e9)
        rows.append({"event_ns": mark, **vars(fit)})
    frame = conform(TABLES["garch"], rows)
    shown = [
        (when(r["event_ns"]), r["status"], r["n"], *(number(r[c]) for c in ("sigma", "alpha", "beta")), r["reason"])
        for r in frame.tail(12).iter_rows(named=True)
    ]
    metadata = written(lake.write("garch", *part, frame)) | {
        "fits": table(("at", "status", "returns", "sigma (1/sqrt s)", "alpha", "beta", "reason"), shown),
        "insufficient": frame.filter(_col("status") != "ok").height,
    }
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(
    deps=[
        dg.AssetDep("mids_250ms", partition_mapping=DAY_AND_EVE),
        dg.AssetDep("trades", partition_mapping=DAY_AND_EVE),
    ],
    partitions_def=MARKET_DAYS,
    group_name="volatility",
    owners=OWNERS,
    kinds={"parquet", "numpy"},
    code_version="1",
    description="Fill intensity A*exp(-k*delta) (Avellaneda & Stoikov 2008, equation 12), delta as a fraction of mid: "
    "maximum likelihood on how far past the mid trades reach within each second of the last hour, with standard "
    "errors. Below 50 reaches or with a vague k the status is `insufficient`.",
)
def fill_intensity(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Fit at every mark of one market day."""
    from bot4_platform.defs.volatility.intensity import fit_intensity, reaches
    from bot4_platform.defs.volatility.mids import WINDOW_NS, fit_times, window
    from bot4_platform.quarantine.frames import as_judged
    from bot4_platform.reporting import table, when, written
    from bot4_platform.tables import TABLES

    part = market_day(context)
    lake = bot4.lake()
    marks = fit_times(lake.read("mids_250ms", *part)["time_ns"].to_numpy())
    time, mid = grid(lake, part)
    trades = as_judged(lake, part, read_with_eve(lake, "trades", part)).sort("recv_ns", "seq")
    at, price, sell = (trades[name].to_numpy() for name in ("recv_ns", "price", "sell"))
    rows, reach = [], None
    for mark in marks:
        rows_in = window(time, mark)
        near = (at > mark - WINDOW_NS) & (at <= mark)
        reach = reaches(round(BUCKET_S * 1e9), time[rows_in], mid[rows_in], at[near], price[near], sell[near])
        rows.append({"event_ns": mark, **vars(fit_intensity(reach, BUCKET_S))})
    frame = conform(TABLES["fill_intensity"], rows)
    shown = [
        (when(r["event_ns"]), r["status"], r["reaches"], r["buckets"],
         *(number(r[c]) for c in ("a", "a_error", "k", "k_error")), r["reason"])
        for r in frame.tail(12).iter_rows(named=True)
    ]  # fmt: skip
    metadata = written(lake.write("fill_intensity", *part, frame)) | {
        "fits": table(("at", "status", "reaches", "buckets", "A (1/s)", "+-", "k (1/return)", "+-", "reason"), shown),
        "insufficient": frame.filter(_col("status") != "ok").height,
    }
    if reach is not None and rows[-1]["status"] == "ok":
        metadata["curve"] = curve(reach, rows[-1])
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(
    deps=["garch", "fill_intensity"],
    partitions_def=MARKET_DAYS,
    group_name="volatility",
    owners=OWNERS,
    kinds={"parquet", "feast"},
    code_version="1",
    description="What the feature store serves to the runner: GARCH sigma, A and k with their event time and the time "
    "they were created. An insufficient fit is null, with its status beside it.",
)
def slow_features(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Join the fits of one market day by their marks."""
    import polars as pl

    from bot4_platform.reporting import table, when, written
    from bot4_platform.tables import TABLES

    part = market_day(context)
    lake = bot4.lake()
    volatility = lake.read("garch", *part).select("event_ns", garch_sigma="sigma", garch_status="status")
    intensity = lake.read("fill_intensity", *part).select(
        "event_ns", intensity_a="a", intensity_k="k", intensity_status="status"
    )
    frame = volatility.join(intensity, on="event_ns", how="inner", validate="1:1").with_columns(
        market=pl.lit(part.market), created_ns=_col("event_ns") + PUBLICATION_LAG_NS
    )
    spec = TABLES["slow_features"]
    frame = spec.conform(frame.select(list(spec.columns)))
    shown = [
        (when(r["event_ns"]), *(number(r[c]) for c in ("garch_sigma", "intensity_a", "intensity_k")))
        for r in frame.tail(12).iter_rows(named=True)
    ]
    return dg.MaterializeResult(
        metadata=written(lake.write("slow_features", *part, frame))
        | {"values": table(("at", "sigma (1/sqrt s)", "A (1/s)", "k (1/return)"), shown)}
    )


def grid(lake: "Lake", part: MarketDay) -> tuple[Any, Any]:
    """Return the times (int64) and mids in ticks (float64) of a day and its eve, each time once, in order."""
    frame = read_with_eve(lake, "mids_250ms", part).unique("time_ns", keep="last", maintain_order=True).sort("time_ns")
    return frame["time_ns"].to_numpy(), (frame["bid_px"] + frame["ask_px"]).to_numpy() / 2


def conform(spec: Any, rows: list[dict[str, Any]]) -> "pl.DataFrame":
    """Return rows as a frame of a table's columns, nan as null: no number where there is none."""
    import polars as pl

    frame = pl.DataFrame([{name: row[name] for name in spec.columns} for row in rows], schema=spec.schema())
    return spec.conform(frame.with_columns(pl.selectors.float().fill_nan(None)))


def number(value: float | None) -> str:
    """Return a number for people, a dash where there is none."""
    return "-" if value is None else f"{value:.5g}"


def curve(reach: Any, fitted: dict[str, Any]) -> dg.MarkdownMetadataValue:
    """Return the plot of rates seen and fitted over the distance from the mid."""
    from bot4_platform.defs.volatility.intensity import IntensityFit, survival
    from bot4_platform.mlops import plots

    fit = IntensityFit(**{name: value for name, value in fitted.items() if name != "event_ns"})
    delta, seen, rate = zip(*survival(reach, fit, BUCKET_S), strict=True)
    area = plots.axes(title="How often trades reach a distance", x="distance from mid, bp", y="hits a second, a side")
    area.semilogy([d * 1e4 for d in delta], seen, "o", color=plots.INK, label="seen")
    area.semilogy([d * 1e4 for d in delta], rate, color=plots.BAD, label="A exp(-k delta)")
    area.legend(fontsize=8)
    return plots.markdown("fill intensity", plots.png(area))


def _col(name: str) -> Any:
    import polars as pl

    return pl.col(name)
