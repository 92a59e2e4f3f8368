"""Tables of the slow sources: the chain, news, posts, macro series. docs/sources.md.

Keys are `<source>:<SCOPE>`, partitions days. `id` is unique in its table, `event_ns` when it happened, `created_ns`
when it could be known. A uint256 is a decimal string, exact; dollars are integer cents.
"""

from bot4_platform.tables.table import Table

KNOWN = {"id": "String", "event_ns": "Int64", "created_ns": "Int64"}
ON_CHAIN = KNOWN | {"block": "Int64", "block_hash": "String", "tx_hash": "String", "log_index": "Int64"}

SLOW_SOURCES = {
    "chain_blocks": Table(
        "blocks of Ethereum that were read; `id` is the hash",
        {**KNOWN, "block": "Int64", "parent_hash": "String", "transactions": "Int64"},
        ("block",), ("id",),
    ),
    "onchain_transfers": Table(
        "transfers of stablecoins, wrapped majors and ETH above a value; log_index -1: native ETH. `flow` is inflow, "
        "outflow, internal (one exchange), between (two), mint, burn or other",
        {
            **ON_CHAIN, "token": "String", "sender": "String", "receiver": "String", "amount": "String",
            "decimals": "Int64", "price_micros": "Int64", "usd_cents": "Int64", "sender_label": "String",
            "receiver_label": "String", "sender_entity": "String", "receiver_entity": "String", "flow": "String",
        },
        ("block", "log_index", "id"), ("id",),
    ),
    "dex_swaps": Table(
        "swaps of Uniswap pools above a value; amounts as the pool sees them, positive: paid in",
        {
            **ON_CHAIN, "protocol": "String", "pool": "String", "pair": "String", "sender": "String",
            "receiver": "String", "amount0": "String", "amount1": "String", "usd_cents": "Int64",
            "sqrt_price_x96": "String", "tick": "Int64",
        },
        ("block", "log_index"), ("id",),
    ),
    "stablecoin_supply": Table(
        "mints and burns of stablecoins, each once; `event` is what the token's contract calls it",
        {
            **ON_CHAIN, "token": "String", "kind": "String", "event": "String", "party": "String",
            "party_label": "String", "amount": "String", "decimals": "Int64", "usd_cents": "Int64",
        },
        ("block", "log_index"), ("id",),
    ),
    "news_items": Table(
        "stories of feeds; `impact` 0 to 1 by declared rules, `tone` of the title -1 to 1, `coins` it names",
        {
            **KNOWN, "feed": "String", "guid": "String", "link": "String", "title": "String", "summary": "String",
            "categories": "String", "terms": "String", "impact": "Float64", "tone": "Float64", "coins": "String",
        },
        ("event_ns", "id"), ("id",),
    ),
    "social_posts": Table(
        "public posts by hashtag; `author` is a digest, `spam` reasons ('': none), `sentiment` -1 to 1 by `scorer`",
        {
            **KNOWN, "network": "String", "author": "String", "text": "String", "language": "String", "tags": "String",
            "coins": "String", "links": "Int64", "spam": "String", "sentiment": "Float64", "scorer": "String",
        },
        ("event_ns", "id"), ("id",),
    ),
    "macro_observations": Table(
        "values of macro series as they were published, revisions included; the day is the release's. `value` null: "
        "published as missing; `text` is what was published",
        {**KNOWN, "series": "String", "period": "String", "vintage": "String", "text": "String", "value": "Float64"},
        ("event_ns", "series", "period"), ("id",),
    ),
    "macro_releases": Table(
        "releases scheduled for the day",
        {**KNOWN, "release": "Int64", "name": "String", "series": "String"},
        ("event_ns", "release"), ("id",),
    ),
    "onchain_signals": Table(
        "quarters of an hour on chain; net inflow: into exchanges less out of them, of whale transfers only",
        KNOWN
        | dict.fromkeys(
            ("blocks", "whales", "whale_cents", "inflow_cents", "outflow_cents", "between_cents", "net_inflow_cents",
             "minted_cents", "burned_cents", "swaps", "swap_cents"), "Int64",
        ),
        ("event_ns",), ("id",),
    ),
    "news_signals": Table(
        "quarters of an hour of news; `tone` weighted by impact, null without one",
        {**KNOWN, "stories": "Int64", "impact": "Float64", "largest_impact": "Float64", "tone": "Float64"},
        ("event_ns",), ("id",),
    ),
    "social_signals": Table(
        "quarters of an hour of posts, by coin and for ALL; `sentiment` the mean of the authors' means, spam left out",
        {**KNOWN, "coin": "String", "posts": "Int64", "voices": "Int64", "spam": "Int64", "sentiment": "Float64"},
        ("event_ns", "coin"), ("id",),
    ),
}  # fmt: skip
