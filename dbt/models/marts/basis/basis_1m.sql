-- depends_on: {{ source('lake', 'basis_pairs') }}
-- Both mids at the same time of the same grid. Twice the basis in 1e-8 of the quote currency; its ratio to the mid of the
-- second market is basis2_sum / mid2_sum.
with samples as (
    select
        pairs.base,
        pairs.quote,
        a.minute_ns,
        a.time_ns,
        a.mid2 * pairs.base_tick_e8 - b.mid2 * pairs.quote_tick_e8 as basis2,
        b.mid2 * pairs.quote_tick_e8 as mid2
    from {{ lake('basis_pairs') }} as pairs
    inner join {{ ref('stg_mids') }} as a on a.market = pairs.base
    inner join {{ ref('stg_mids') }} as b on b.market = pairs.quote and b.time_ns = a.time_ns
)
select
    base,
    quote,
    minute_ns,
    count(*) as samples,
    {{ first_by('basis2', ['time_ns']) }} as basis2_open,
    max(basis2) as basis2_high,
    min(basis2) as basis2_low,
    {{ last_by('basis2', ['time_ns']) }} as basis2_close,
    {{ int_sum('basis2') }} as basis2_sum,
    {{ int_sum('mid2') }} as mid2_sum
from samples
group by base, quote, minute_ns
order by base, quote, minute_ns
