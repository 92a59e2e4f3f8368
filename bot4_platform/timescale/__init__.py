"""PostgreSQL and TimescaleDB behind the platform: schema, bulk loads, candles as continuous aggregates."""
