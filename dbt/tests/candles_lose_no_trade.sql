-- Every trade and every lot is in exactly one candle.
select * from (
    select
        (select count(*) from {{ ref('stg_trades') }}) as trades_in,
        (select coalesce({{ int_sum('trades') }}, 0) from {{ ref('candles_1m') }}) as trades_out,
        (select coalesce({{ int_sum('qty') }}, 0) from {{ ref('stg_trades') }}) as lots_in,
        (select coalesce({{ int_sum('volume') }}, 0) from {{ ref('candles_1m') }}) as lots_out
) as totals
where trades_in <> trades_out or lots_in <> lots_out
