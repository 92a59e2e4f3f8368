"""Running the platform: what runs at once, what is tried again, backfills, alerts (docs/operations.md)."""
