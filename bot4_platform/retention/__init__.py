"""What may be removed and when, what the disk is used for, and what would free some of it (docs/retention.md)."""
