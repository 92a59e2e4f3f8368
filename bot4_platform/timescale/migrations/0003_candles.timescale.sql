-- Candles as continuous aggregates, each stacked on the one below; all real time: what is not materialised yet is
-- computed from the level below when asked. Open and close are by (exchange time, trade id): the least and greatest
-- array [time, id, price] carry their price. VWAP = vwap_num / vwap_den; a quotient would no longer add up.

create materialized view market.candles_1m
with (timescaledb.continuous, timescaledb.materialized_only = false) as
select
    exchange,
    symbol,
    time_bucket(bigint '60000000000', exch_ns) as start_ns,
    (min(array[exch_ns, trade_id, price]))[3] as open,
    max(price) as high,
    min(price) as low,
    (max(array[exch_ns, trade_id, price]))[3] as close,
    sum(qty)::bigint as volume,
    sum(price * qty)::bigint as vwap_num,
    sum(qty)::bigint as vwap_den,
    count(*) as trades
from market.market_ticks
group by 1, 2, 3
with no data;

create materialized view market.candles_5m
with (timescaledb.continuous, timescaledb.materialized_only = false) as
select
    exchange,
    symbol,
    time_bucket(bigint '300000000000', start_ns) as start_ns,
    (min(array[start_ns, open]))[2] as open,
    max(high) as high,
    min(low) as low,
    (max(array[start_ns, close]))[2] as close,
    sum(volume)::bigint as volume,
    sum(vwap_num)::bigint as vwap_num,
    sum(vwap_den)::bigint as vwap_den,
    sum(trades)::bigint as trades
from market.candles_1m
group by 1, 2, 3
with no data;

create materialized view market.candles_15m
with (timescaledb.continuous, timescaledb.materialized_only = false) as
select
    exchange,
    symbol,
    time_bucket(bigint '900000000000', start_ns) as start_ns,
    (min(array[start_ns, open]))[2] as open,
    max(high) as high,
    min(low) as low,
    (max(array[start_ns, close]))[2] as close,
    sum(volume)::bigint as volume,
    sum(vwap_num)::bigint as vwap_num,
    sum(vwap_den)::bigint as vwap_den,
    sum(trades)::bigint as trades
from market.candles_5m
group by 1, 2, 3
with no data;

create materialized view market.candles_1h
with (timescaledb.continuous, timescaledb.materialized_only = false) as
select
    exchange,
    symbol,
    time_bucket(bigint '3600000000000', start_ns) as start_ns,
    (min(array[start_ns, open]))[2] as open,
    max(high) as high,
    min(low) as low,
    (max(array[start_ns, close]))[2] as close,
    sum(volume)::bigint as volume,
    sum(vwap_num)::bigint as vwap_num,
    sum(vwap_den)::bigint as vwap_den,
    sum(trades)::bigint as trades
from market.candles_15m
group by 1, 2, 3
with no data;

create materialized view market.candles_4h
with (timescaledb.continuous, timescaledb.materialized_only = false) as
select
    exchange,
    symbol,
    time_bucket(bigint '14400000000000', start_ns) as start_ns,
    (min(array[start_ns, open]))[2] as open,
    max(high) as high,
    min(low) as low,
    (max(array[start_ns, close]))[2] as close,
    sum(volume)::bigint as volume,
    sum(vwap_num)::bigint as vwap_num,
    sum(vwap_den)::bigint as vwap_den,
    sum(trades)::bigint as trades
from market.candles_1h
group by 1, 2, 3
with no data;

create materialized view market.candles_1d
with (timescaledb.continuous, timescaledb.materialized_only = false) as
select
    exchange,
    symbol,
    time_bucket(bigint '86400000000000', start_ns) as start_ns,
    (min(array[start_ns, open]))[2] as open,
    max(high) as high,
    min(low) as low,
    (max(array[start_ns, close]))[2] as close,
    sum(volume)::bigint as volume,
    sum(vwap_num)::bigint as vwap_num,
    sum(vwap_den)::bigint as vwap_den,
    sum(trades)::bigint as trades
from market.candles_4h
group by 1, 2, 3
with no data;

-- Whole chunks here too: of 30 days instead of the ten times 7 that an aggregate gets by itself.
select set_chunk_time_interval(format('market.candles_%s', level)::regclass, bigint '2592000000000000')
from unnest(array['1m', '5m', '15m', '1h', '4h', '1d']) as level;
