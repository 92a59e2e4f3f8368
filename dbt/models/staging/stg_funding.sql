-- depends_on: {{ source('lake', 'funding') }}
select
    seq,
    exch_ns,
    {{ bucket('exch_ns', 3600) }} as hour_ns,
    next_ns,
    rate,
    rate_decimals,
    mark_price,
    mark_price_decimals,
    index_price,
    index_price_decimals
from {{ lake('funding') }} as funding
