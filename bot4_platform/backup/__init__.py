"""Backup of everything under `var/` into a folder store, and restore of it (docs/backup.md, decisions/011)."""
