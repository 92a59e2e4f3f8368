-- Open and close are by (exchange time, trade id). VWAP = vwap_num / vwap_den: a quotient would no longer add up.
select
    minute_ns,
    {{ first_by('price', ['exch_ns', 'trade_id']) }} as open,
    max(price) as high,
    min(price) as low,
    {{ last_by('price', ['exch_ns', 'trade_id']) }} as close,
    {{ int_sum('qty') }} as volume,
    {{ int_sum('price * qty') }} as vwap_num,
    {{ int_sum('qty') }} as vwap_den,
    count(*) as trades
from {{ ref('stg_trades') }}
group by minute_ns
order by minute_ns
