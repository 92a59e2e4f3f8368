"""Bot4's trading domain: events, books, features, models in use, strategies, risk, execution, safety."""

from bot4_live import compile_cache as _compile_cache

__version__ = "0.1.0"

# Before anything imports numba: its cache directory is read once.
_compile_cache.install()
