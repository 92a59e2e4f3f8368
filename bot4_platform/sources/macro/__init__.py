"""Macro series on their release schedule: a value exists from its release on, and a revision is a row of its own."""
