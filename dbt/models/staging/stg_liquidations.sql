-- depends_on: {{ source('lake', 'liquidations') }}
select
    seq,
    exch_ns,
    {{ bucket('exch_ns', 60) }} as minute_ns,
    price,
    qty,
    sell,
    large
from {{ lake('liquidations') }} as liquidations
