"""The event bus: what the journal holds, as topics that other processes follow (docs/bus.md)."""
