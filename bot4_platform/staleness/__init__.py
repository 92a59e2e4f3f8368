"""How old data may be, how old they are, and what is to blame: by the time of the data, never of the last run."""
