-- Every trade and every lot is in exactly one candle of each interval.
with wanted as (
    select count(*) as trades, coalesce(sum(qty), 0) as volume, coalesce(sum(price * qty), 0) as vwap_num
    from {{ ref('stg_trades') }}
),
found as (
    {%- for interval in ['1m', '5m', '15m', '1h', '4h', '1d'] %}
    select
        '{{ interval }}' as name,
        coalesce(sum(trades), 0) as trades,
        coalesce(sum(volume), 0) as volume,
        coalesce(sum(vwap_num), 0) as vwap_num
    from {{ part(ref('candles_' ~ interval)) }} as candles_{{ interval }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)
select found.name
from found
cross join wanted
where found.trades <> wanted.trades or found.volume <> wanted.volume or found.vwap_num <> wanted.vwap_num
