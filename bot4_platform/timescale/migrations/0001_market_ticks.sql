-- Public trades: prices in ticks, quantities in lots, times in ns of exchange time. `sell`: the aggressor sold.
-- Quotes and depth stay in the lake.

-- The market's clock, which every policy goes by. A database of a replayed market is given that market's time:
-- alter database ... set bot4.now_ns = '...'.
create function market.now_ns() returns bigint language sql stable parallel safe as $$
    select coalesce(
        nullif(current_setting('bot4.now_ns', true), '')::bigint,
        (extract(epoch from now()) * 1000000)::bigint * 1000
    )
$$;

create table market.market_ticks (
    exchange text    not null,
    symbol   text    not null,
    exch_ns  bigint  not null,
    trade_id bigint  not null,
    recv_ns  bigint  not null,
    seq      bigint  not null,
    price    bigint  not null,
    qty      bigint  not null,
    sell     boolean not null,
    constraint market_ticks_key unique (symbol, exchange, exch_ns, trade_id)
);

-- What was loaded, written in the transaction that loads it. `refreshed_at` is null while aggregates of
-- [first_ns, last_ns] may be behind the ticks.
create table market.loads (
    source       text primary key,
    digest       text not null,
    rows         bigint not null,
    first_ns     bigint,
    last_ns      bigint,
    loaded_at    timestamptz not null default now(),
    refreshed_at timestamptz
);
