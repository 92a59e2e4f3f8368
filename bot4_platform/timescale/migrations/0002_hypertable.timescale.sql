-- Chunks of 7 days of exchange time. Policies act on whole chunks: a chunk is compressed once all of it is older than
-- 1 day and dropped once all of it is older than 30 days, so raw ticks live 30 to 37 days.
create extension if not exists timescaledb;

select create_hypertable('market.market_ticks', by_range('exch_ns', bigint '604800000000000'));
select set_integer_now_func('market.market_ticks', 'market.now_ns');

alter table market.market_ticks set (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'symbol, exchange',
    timescaledb.orderby = 'exch_ns, trade_id'
);
call add_columnstore_policy('market.market_ticks', after => bigint '86400000000000');
select add_retention_policy('market.market_ticks', drop_after => bigint '2592000000000000');
