"""Frames that the feed refused: looking at them, and releasing those that were refused wrongly. docs/quality.md."""
