-- The same candles as plain views, computed when asked.

create view market.candles_1m as
select
    exchange,
    symbol,
    exch_ns / 60000000000 * 60000000000 as start_ns,
    (min(array[exch_ns, trade_id, price]))[3] as open,
    max(price) as high,
    min(price) as low,
    (max(array[exch_ns, trade_id, price]))[3] as close,
    sum(qty)::bigint as volume,
    sum(price * qty)::bigint as vwap_num,
    sum(qty)::bigint as vwap_den,
    count(*) as trades
from market.market_ticks
group by 1, 2, 3;

create view market.candles_5m as
select
    exchange,
    symbol,
    start_ns / 300000000000 * 300000000000 as start_ns,
    (min(array[start_ns, open]))[2] as open,
    max(high) as high,
    min(low) as low,
    (max(array[start_ns, close]))[2] as close,
    sum(volume)::bigint as volume,
    sum(vwap_num)::bigint as vwap_num,
    sum(vwap_den)::bigint as vwap_den,
    sum(trades)::bigint as trades
from market.candles_1m
group by 1, 2, 3;

create view market.candles_15m as
select
    exchange,
    symbol,
    start_ns / 900000000000 * 900000000000 as start_ns,
    (min(array[start_ns, open]))[2] as open,
    max(high) as high,
    min(low) as low,
    (max(array[start_ns, close]))[2] as close,
    sum(volume)::bigint as volume,
    sum(vwap_num)::bigint as vwap_num,
    sum(vwap_den)::bigint as vwap_den,
    sum(trades)::bigint as trades
from market.candles_5m
group by 1, 2, 3;

create view market.candles_1h as
select
    exchange,
    symbol,
    start_ns / 3600000000000 * 3600000000000 as start_ns,
    (min(array[start_ns, open]))[2] as open,
    max(high) as high,
    min(low) as low,
    (max(array[start_ns, close]))[2] as close,
    sum(volume)::bigint as volume,
    sum(vwap_num)::bigint as vwap_num,
    sum(vwap_den)::bigint as vwap_den,
    sum(trades)::bigint as trades
from market.candles_15m
group by 1, 2, 3;

create view market.candles_4h as
select
    exchange,
    symbol,
    start_ns / 14400000000000 * 14400000000000 as start_ns,
    (min(array[start_ns, open]))[2] as open,
    max(high) as high,
    min(low) as low,
    (max(array[start_ns, close]))[2] as close,
    sum(volume)::bigint as volume,
    sum(vwap_num)::bigint as vwap_num,
    sum(vwap_den)::bigint as vwap_den,
    sum(trades)::bigint as trades
from market.candles_1h
group by 1, 2, 3;

create view market.candles_1d as
select
    exchange,
    symbol,
    start_ns / 86400000000000 * 86400000000000 as start_ns,
    (min(array[start_ns, open]))[2] as open,
    max(high) as high,
    min(low) as low,
    (max(array[start_ns, close]))[2] as close,
    sum(volume)::bigint as volume,
    sum(vwap_num)::bigint as vwap_num,
    sum(vwap_den)::bigint as vwap_den,
    sum(trades)::bigint as trades
from market.candles_4h
group by 1, 2, 3;
