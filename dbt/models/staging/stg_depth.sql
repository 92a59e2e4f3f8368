-- depends_on: {{ source('lake', 'depth') }}
select
    seq,
    exch_ns,
    {{ bucket('exch_ns', 60) }} as minute_ns,
    last_id - first_id + 1 as updates,
    n_bids,
    n_asks,
    coalesce(prev_id >= 0 and prev_id <> lag(last_id) over (order by seq), false) as breaks
from {{ lake('depth') }} as depth
