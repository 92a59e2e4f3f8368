"""`bot4 live`: one trading session of one account, on paper."""

from __future__ import annotations

import click


@click.command("live")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after this many real seconds.")
@click.option(
    "--until-market-ns", type=int, help="Stop when the engine's clock (market time, ns since 1970) reaches this."
)
@click.option("--no-model", is_flag=True, help="Quote without a champion.")
@click.option("--json", "as_json", is_flag=True, help="Print the report of the session as one JSON line at the end.")
def command(seconds: float | None, until_market_ns: int | None, no_model: bool, as_json: bool) -> None:
    """Trade (paper): load the champion and quote.

    Needs an exchange on this machine (`bot4 exchange`) and a running `bot4 watchdog`. Prints one JSON line when it is
    prepared, one when trading begins, and a status line a second to stderr. Ctrl-C or SIGTERM stop it cleanly: orders
    are cancelled, the position stays.
    """
    import json

    if seconds is not None and until_market_ns is not None:
        raise click.UsageError("give --seconds or --until-market-ns, not both")
    from bot4_live.settings import load

    settings = load()  # wrong ones are said before the compiled code is loaded
    from bot4_live.runner import Options, run

    report = run(
        settings,
        Options(seconds, until_market_ns, no_model),
        lambda ready: click.echo(json.dumps(ready, sort_keys=True)),
    )
    if as_json:
        brief = {k: v for k, v in report.items() if not k.endswith("_us")}
        brief |= {k: {q: v[q] for q in ("count", "p50", "p99")} for k, v in report.items() if k.endswith("_us")}
        click.echo(json.dumps(brief, sort_keys=True))
