-- The flow of a minute is that of its candle: the same trades and lots.
select f.minute_ns
from {{ part(ref('trade_flow_1m')) }} as f
full join {{ part(ref('candles_1m')) }} as c on c.minute_ns = f.minute_ns
where f.minute_ns is null or c.minute_ns is null
   or f.trades <> c.trades or f.imbalance_den <> c.volume or f.buy_value + f.sell_value <> c.vwap_num
