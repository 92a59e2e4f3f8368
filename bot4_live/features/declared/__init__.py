"""The declarations of the fast features by subject; `bot4_live.features.registry` joins them in the engine's order."""
