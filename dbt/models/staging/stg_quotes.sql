-- depends_on: {{ source('lake', 'quotes') }}
-- A quote is in force until the next one, at most to the end of its minute: what it holds beyond is not counted.
select
    seq,
    exch_ns,
    minute_ns,
    bid_px,
    bid_qty,
    ask_px,
    ask_qty,
    ask_px - bid_px as spread,
    least(coalesce(lead(exch_ns) over (order by exch_ns, seq), exch_ns), minute_ns + 60000000000) - exch_ns as held_ns
from (
    select seq, exch_ns, {{ bucket('exch_ns', 60) }} as minute_ns, bid_px, bid_qty, ask_px, ask_qty
    from {{ lake('quotes') }} as raw_quotes
) as quotes
