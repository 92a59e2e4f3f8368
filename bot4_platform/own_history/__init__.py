"""A user's own history in files: into the lake and out of it, in one documented schema (docs/data.md)."""
