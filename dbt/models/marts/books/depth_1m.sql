select
    minute_ns,
    count(*) as messages,
    {{ int_sum('updates') }} as updates,
    {{ int_sum('n_bids') }} as bid_levels,
    {{ int_sum('n_asks') }} as ask_levels,
    count(*) filter (where breaks) as breaks
from {{ ref('stg_depth') }}
group by minute_ns
order by minute_ns
