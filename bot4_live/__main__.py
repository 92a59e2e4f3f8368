"""`python -m bot4_live` is `bot4`."""

from bot4_live.cli import main

main()
