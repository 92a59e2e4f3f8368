-- Without the extension: the index that a hypertable has; no chunks, no compression, no retention.
create index market_ticks_exch_ns_idx on market.market_ticks (exch_ns desc);
