-- Imbalance = imbalance_num / imbalance_den. A print is large when 99 % of the day's are smaller or equal.
with sizes as (
    select {{ quantile('qty', 0.99) }} as large_qty from {{ ref('stg_trades') }}
)
select
    minute_ns,
    count(*) as trades,
    count(*) filter (where not sell) as buys,
    count(*) filter (where sell) as sells,
    {{ int_sum('case when sell then 0 else qty end') }} as buy_lots,
    {{ int_sum('case when sell then qty else 0 end') }} as sell_lots,
    {{ int_sum('case when sell then -qty else qty end') }} as imbalance_num,
    {{ int_sum('qty') }} as imbalance_den,
    {{ int_sum('case when sell then 0 else price * qty end') }} as buy_value,
    {{ int_sum('case when sell then price * qty else 0 end') }} as sell_value,
    max(qty) as largest,
    max(large_qty) as large_qty,
    count(*) filter (where qty >= large_qty) as large_prints,
    {{ int_sum('case when qty >= large_qty then qty else 0 end') }} as large_lots
from {{ ref('stg_trades') }}
cross join sizes
group by minute_ns
order by minute_ns
