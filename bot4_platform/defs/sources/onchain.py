"""What an Ethereum node tells of a day, and its quarters of an hour."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from bot4_platform.checks import OWNERS, day_check
from bot4_platform.defs.sources.common import asked, now_ns, partition_metadata, sound_rows, teller, write_signals
from bot4_platform.operations.steps import SOURCE
from bot4_platform.partitions import DAYS
from bot4_platform.resources import Bot4Resource
from bot4_platform.settings import platform_settings

TABLES = {
    "chain_blocks": "The blocks that were read, by hash: what is there is read once, and what a reorganisation took "
    "off the chain is found by it and read anew.",
    "onchain_transfers": "Whale transfers (a million dollars and more): stablecoins, wrapped majors, ETH; both sides "
    "named by the address labels, so that flows into and out of exchanges show.",
    "dex_swaps": "Swaps of the Uniswap pools above the smallest volume, by pool and protocol, exact amounts.",
    "stablecoin_supply": "Mints and burns of USDT, USDC and DAI, each once, from the event that the token has for it.",
}

SHOWN = {
    "onchain_transfers": ("token", "flow", "sender_label", "receiver_label"),
    "dex_swaps": ("protocol", "pair"),
    "stablecoin_supply": ("token", "kind", "event"),
}


@dg.multi_asset(
    name="ethereum_day",
    specs=[
        dg.AssetSpec(
            name, group_name="sources", owners=OWNERS, kinds={"ethereum", "parquet"}, code_version="1",
            description=about,
        )
        for name, about in TABLES.items()
    ],
    partitions_def=DAYS,
    retry_policy=SOURCE,
    pool="source_ethereum",
)  # fmt: skip
def ethereum_day(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> Iterator[dg.MaterializeResult]:
    """Bring a day up to the node's chain."""
    from bot4_platform.reporting import table, when
    from bot4_platform.sources.days import is_past
    from bot4_platform.sources.ethereum.day import SCOPE, publication, read_day
    from bot4_platform.sources.ethereum.node import Node

    day, settings, lake = str(context.partition_key), platform_settings().sources.ethereum, bot4.lake()
    with asked("ethereum", settings.per_s) as client:
        node = Node(client, settings.url.get_secret_value(), batch=settings.batch)
        done = read_day(
            lake, node, settings, day, now=now_ns, backfill=is_past(day, now_ns()), tell=teller(context)
        )  # fmt: skip
    for name in TABLES:
        frame = lake.read(name, day, SCOPE)
        metadata: dict[str, Any] = partition_metadata(lake, name, day, SCOPE)
        if name == "chain_blocks":
            metadata |= {
                "blocks": f"{done.first_block} to {done.last_block}",
                "read_now": done.blocks,
                "requests": done.requests,
                "taken_back": done.taken_back,
                "quarantined_now": done.rejected,
                "lag": publication(settings).why,
            }
        else:
            largest = frame.sort("usd_cents", "id", descending=[True, False]).head(8)
            rows = largest.select("event_ns", "usd_cents", *SHOWN[name]).rows()
            metadata |= {
                "usd": int(frame["usd_cents"].sum()) / 100,
                "largest": table(
                    ("time", "dollars", *SHOWN[name]),
                    [(when(at)[11:19], f"{cents / 100:,.0f}", *rest) for at, cents, *rest in rows],
                ),
            }
        yield dg.MaterializeResult(asset_key=name, metadata=metadata)


@day_check(
    asset="chain_blocks", description="The blocks of the day are one chain: numbers without a gap, each naming the one "
    "before as its parent, times growing.", blocking=True,
)  # fmt: skip
def blocks_link(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Count the breaks."""
    frame = bot4.lake().read("chain_blocks", str(context.partition_key))
    broken = {
        "gaps": frame.filter(frame["block"] != frame["block"].shift(1) + 1).height,
        "wrong_parents": frame.filter(frame["parent_hash"] != frame["id"].shift(1)).height,
        "not_later": frame.filter(frame["event_ns"] <= frame["event_ns"].shift(1)).height,
    }
    return dg.AssetCheckResult(passed=not any(broken.values()), metadata={"blocks": frame.height} | broken)


@day_check(
    asset="onchain_transfers", description="Every transfer, swap, mint and burn lies in a block that is on the chain.",
    blocking=True,
)  # fmt: skip
def rows_are_on_the_chain(context: dg.AssetCheckExecutionContext, bot4: Bot4Resource) -> dg.AssetCheckResult:
    """Compare their blocks' hashes with those of the blocks."""
    lake, day = bot4.lake(), str(context.partition_key)
    hashes = lake.read("chain_blocks", day, columns=["id"])["id"].implode()
    off = {}
    for name in ("onchain_transfers", "dex_swaps", "stablecoin_supply"):
        frame = lake.read(name, day, columns=["block_hash"])
        off[name] = frame.filter(~frame["block_hash"].is_in(hashes)).height
    return dg.AssetCheckResult(passed=not any(off.values()), metadata=off)


@dg.asset(
    deps=list(TABLES),
    partitions_def=DAYS,
    group_name="sources",
    owners=OWNERS,
    kinds={"polars", "parquet"},
    code_version="1",
    description="Quarters of an hour on chain: flows into and out of exchanges, whales, mints, burns, swapped volume. "
    "Known when the last of its blocks was.",
)
def onchain_signals(context: dg.AssetExecutionContext, bot4: Bot4Resource) -> dg.MaterializeResult:
    """Count a day by quarters."""
    from bot4_platform.reporting import line_plot
    from bot4_platform.sources import signals
    from bot4_platform.sources.ethereum.day import SCOPE, SLOT_NS

    day, lake = str(context.partition_key), bot4.lake()
    transfers, swaps, supply, blocks = (
        lake.read(name, day, SCOPE) for name in ("onchain_transfers", "dex_swaps", "stablecoin_supply", "chain_blocks")
    )
    rows = signals.onchain_signals(day, transfers, swaps, supply, blocks, SLOT_NS)
    frame, metadata = write_signals(lake, "onchain_signals", day, SCOPE, rows)
    if frame.height > 1:
        at = ((frame["event_ns"] - frame["event_ns"][0]) / 1e9).to_numpy()
        lines = {
            "net inflow": (frame["net_inflow_cents"].cum_sum() / 1e8).to_numpy(),
            "net mint": ((frame["minted_cents"] - frame["burned_cents"]).cum_sum() / 1e8).to_numpy(),
        }
        metadata["flows"] = line_plot(at, lines, "million dollars", "into exchanges and out of nothing, summed")
    return dg.MaterializeResult(metadata=metadata)


CHECKS = [
    blocks_link,
    rows_are_on_the_chain,
    sound_rows("chain_blocks", "Each block once, within its day, known after it was mined."),
    sound_rows(
        "onchain_transfers", "Each transfer once, valued above zero, amounts whole numbers.",
        lambda frame: {"not_positive": frame.filter(frame["usd_cents"] <= 0).height,
                       "no_amount": frame.filter(~frame["amount"].str.contains(r"^\d+$")).height},
    ),
    sound_rows(
        "dex_swaps", "Each swap once, one side paid in and the other out.",
        lambda frame: {"one_way": frame.filter(
            frame["amount0"].str.starts_with("-") == frame["amount1"].str.starts_with("-")).height},
    ),
    sound_rows(
        "stablecoin_supply", "Each mint and burn once, valued above zero.",
        lambda frame: {"not_positive": frame.filter(frame["usd_cents"] <= 0).height},
    ),
    sound_rows(
        "onchain_signals", "Each quarter once; its net inflow is what came less what went.",
        lambda frame: {"net": frame.filter(
            frame["net_inflow_cents"] != frame["inflow_cents"] - frame["outflow_cents"]).height},
    ),
]  # fmt: skip
