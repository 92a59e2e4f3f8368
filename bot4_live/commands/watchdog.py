"""`bot4 watchdog`: the guard of an account, in the foreground; `bot4 watchdog press` is a finger on the mock panel."""

from __future__ import annotations

import json

import click


@click.group(invoke_without_command=True)
@click.option(
    "--panel",
    type=click.Choice(["auto", "mock", "gpio"]),
    default="auto",
    show_default=True,
    help="mock pins or the machine's; auto: mock in the embedded profile",
)
@click.pass_context
def command(context: click.Context, panel: str) -> None:
    """Guard the runner: lease, panel, kill.

    Prints one JSON line when it is ready and runs until SIGTERM or Ctrl-C. It needs an API key of its own
    (BOT4_WATCHDOG_API_KEY, BOT4_WATCHDOG_API_SECRET).
    """
    if context.invoked_subcommand is None:
        _serve(panel)


def _serve(kind: str) -> None:
    import signal
    import threading

    from bot4_live import settings as configuration
    from bot4_live.safety.mock_hand import MockHand
    from bot4_live.safety.panel import Panel
    from bot4_live.safety.priority import claim
    from bot4_live.safety.watchdog import Watchdog

    settings = configuration.load()
    if kind == "auto":
        kind = "mock" if settings.profile == "embedded" else "gpio"
    wake = threading.Event()
    panel = Panel(kind, wake.set)
    dog = Watchdog(settings, panel, wake)

    def stop(_signal: int, _frame: object) -> None:
        dog.stop.set()
        wake.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    hand = MockHand(panel, settings.shm_dir) if kind == "mock" else None
    ready = {
        "ready": True,
        "pid": dog.block.get("watchdog_pid"),
        "account": settings.account,
        "control": str(dog.block.path),
        "panel": kind,
        "mode": dog.machine.mode.name,
        "arming_epoch": dog.machine.arming_epoch,
        "priority": claim(),
    }
    click.echo(json.dumps(ready))
    try:
        dog.run()
    finally:
        if hand is not None:
            hand.close()


@command.command()
@click.option("--ms", type=click.FloatRange(1, 10_000), default=200.0, show_default=True, help="how long it is held")
def press(ms: float) -> None:
    """Press the mock panel's kill button (less than 50 ms counts as a bounce)."""
    from bot4_live import settings as configuration
    from bot4_live.safety import mock_hand

    mock_hand.press(configuration.load().shm_dir, ms)
    click.echo(f"pressed for {ms:g} ms")
