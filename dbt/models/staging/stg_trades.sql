-- depends_on: {{ source('lake', 'trades') }}
select
    trade_id,
    exch_ns,
    {{ bucket('exch_ns', 60) }} as minute_ns,
    price,
    qty,
    sell
from {{ lake('trades') }} as trades
