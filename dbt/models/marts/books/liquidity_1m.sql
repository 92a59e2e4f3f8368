-- depends_on: {{ source('lake', 'features') }}
-- Means over the grid of the features, so doubles as they are.
select
    {{ bucket('exch_ns', 60) }} as minute_ns,
    count(*) as samples,
    avg(spread_bp) as spread_bp_mean,
    max(spread_bp) as spread_bp_max,
    avg(depth_5) as depth_5_mean,
    min(depth_5) as depth_5_min,
    avg(imbalance_5) as imbalance_5_mean,
    avg(depth_slope_bid) as depth_slope_bid_mean,
    avg(depth_slope_ask) as depth_slope_ask_mean
from {{ lake('features') }} as features
where valid and exch_ns > 0
group by 1
order by 1
