-- Tables of the lake that dbt's marts read, with the columns day and market before their own. Each is created from the
-- lake's own schema when its first partition is loaded, and grows with it. Trades are market.market_ticks.
create schema lake;
