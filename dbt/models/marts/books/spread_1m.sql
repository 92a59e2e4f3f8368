-- Mean spread by quotes = spread_sum / quotes, by time = spread_ns / held_ns. Twice the mid: half ticks stay integers.
{%- set order = ['exch_ns', 'seq'] %}
select
    minute_ns,
    count(*) as quotes,
    min(spread) as spread_min,
    {{ quantile('spread', 0.5) }} as spread_median,
    max(spread) as spread_max,
    {{ int_sum('spread') }} as spread_sum,
    {{ int_sum('spread * held_ns') }} as spread_ns,
    {{ int_sum('held_ns') }} as held_ns,
    {{ first_by('bid_px + ask_px', order) }} as mid2_open,
    max(bid_px + ask_px) as mid2_high,
    min(bid_px + ask_px) as mid2_low,
    {{ last_by('bid_px + ask_px', order) }} as mid2_close,
    {{ int_sum('bid_qty') }} as bid_lots_sum,
    {{ int_sum('ask_qty') }} as ask_lots_sum
from {{ ref('stg_quotes') }}
group by minute_ns
order by minute_ns
