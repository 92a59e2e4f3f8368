select
    minute_ns,
    count(*) as liquidations,
    count(*) filter (where sell) as longs,
    count(*) filter (where not sell) as shorts,
    {{ int_sum('case when sell then qty else 0 end') }} as long_lots,
    {{ int_sum('case when sell then 0 else qty end') }} as short_lots,
    {{ int_sum('price * qty') }} as value_num,
    max(qty) as largest,
    count(*) filter (where large) as large
from {{ ref('stg_liquidations') }}
group by minute_ns
order by minute_ns
