{#- Candles of an interval out of those of a minute: their open is the first one's, sums add up. -#}
{% macro stacked_candles(seconds) -%}
select
    {{ bucket('minute_ns', seconds) }} as bucket_ns,
    {{ first_by('open', ['minute_ns']) }} as open,
    max(high) as high,
    min(low) as low,
    {{ last_by('close', ['minute_ns']) }} as close,
    {{ int_sum('volume') }} as volume,
    {{ int_sum('vwap_num') }} as vwap_num,
    {{ int_sum('vwap_den') }} as vwap_den,
    {{ int_sum('trades') }} as trades
from {{ part(ref('candles_1m')) }} as minutes
group by 1
order by 1
{%- endmacro %}
