-- Refresh windows have both ends. An open end would move the watermark past ticks that are still to come and hide them;
-- a start past the raw retention (30 days) would find the ticks gone and delete the candles made of them.
-- The window ends one bucket before the market's clock; a level runs after the one below it, each at its own second.
-- Late ticks older than a window are refreshed by whoever loads them.
select add_continuous_aggregate_policy(
    format('market.candles_%s', level)::regclass,
    start_offset => span_ns,
    end_offset => bucket_ns,
    schedule_interval => every,
    initial_start => timestamptz '2024-01-01 00:00:00+00' + after
)
from (values
    ('1m', bigint '259200000000000', bigint '60000000000', interval '1 minute', interval '5 seconds'),
    ('5m', bigint '259200000000000', bigint '300000000000', interval '5 minutes', interval '20 seconds'),
    ('15m', bigint '259200000000000', bigint '900000000000', interval '15 minutes', interval '30 seconds'),
    ('1h', bigint '259200000000000', bigint '3600000000000', interval '1 hour', interval '100 seconds'),
    ('4h', bigint '604800000000000', bigint '14400000000000', interval '4 hours', interval '160 seconds'),
    ('1d', bigint '604800000000000', bigint '86400000000000', interval '1 day', interval '340 seconds')
) as policy (level, span_ns, bucket_ns, every, after);

-- Candles stay 365 days, and until the chunk of 30 days that they lie in is as old as a whole.
select add_retention_policy(format('market.candles_%s', level)::regclass, drop_after => bigint '31536000000000000')
from unnest(array['1m', '5m', '15m', '1h', '4h', '1d']) as level;
