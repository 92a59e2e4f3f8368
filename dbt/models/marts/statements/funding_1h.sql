-- As of the last statement of the hour that says it, with the digits and decimals that the venue wrote.
{%- set order = ['exch_ns', 'seq'] %}
select
    hour_ns,
    count(*) as statements,
    {{ last_by('next_ns', order) }} as next_ns,
    {{ first_by('rate', order) }} as rate_open,
    {{ first_by('rate_decimals', order) }} as rate_open_decimals,
    {{ last_by('rate', order) }} as rate,
    {{ last_by('rate_decimals', order) }} as rate_decimals,
    {{ last_by('mark_price', order) }} as mark_price,
    {{ last_by('mark_price_decimals', order) }} as mark_price_decimals,
    {{ last_by('index_price', order) }} as index_price,
    {{ last_by('index_price_decimals', order) }} as index_price_decimals
from {{ ref('stg_funding') }}
group by hour_ns
order by hour_ns
