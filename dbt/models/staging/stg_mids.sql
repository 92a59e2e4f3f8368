-- depends_on: {{ source('lake', 'mids_250ms') }}
-- Twice the mid: a half tick stays an integer.
{%- if run_of('DBT_MARKETS', 'any') %}
select
    market,
    time_ns,
    {{ bucket('time_ns', 60) }} as minute_ns,
    bid_px + ask_px as mid2
from {{ lake_of_markets('mids_250ms') }} as mids
{%- else %}
-- No pair of markets has mids on the day.
select
    cast('' as varchar) as market,
    cast(0 as bigint) as time_ns,
    cast(0 as bigint) as minute_ns,
    cast(0 as bigint) as mid2
where false
{%- endif %}
