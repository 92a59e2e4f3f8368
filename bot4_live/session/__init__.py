"""The parts of a live session that `bot4_live.runner` composes."""
