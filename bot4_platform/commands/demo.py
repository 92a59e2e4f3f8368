"""`bot4 demo`: the main job, end to end."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo")
@click.option("--capture", type=click.Path(path_type=Path), help="Recorded market: `<ns> <json>` lines, plain or gzip.")
@click.option("--generated", is_flag=True, help="Use the seeded generator even where a recording is at hand.")
@click.option("--seed", type=int, default=20_240_808, show_default=True, help="Seed of the generated market.")
@click.option(
    "--market-seconds", type=click.FloatRange(60, 345), default=345, show_default=True, help="Use at most this."
)
@click.option("--folder", type=click.Path(path_type=Path), help="Where everything goes [var/demo].")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json at the end.")
def command(
    capture: Path | None, generated: bool, seed: int, market_seconds: float, folder: Path | None, as_json: bool
) -> None:
    """Run the main job end to end and write a report.

    Exchange, capture, platform, live trading on paper, kill, replay: each in processes of its own, on loopback.
    Needs no data: without a recording the market is generated. The folder of the last run is kept as FOLDER-previous.
    """
    from bot4_live.settings import PROJECT_ROOT
    from bot4_platform.demo.children import ChildError
    from bot4_platform.demo.finish import finish
    from bot4_platform.demo.job import Job
    from bot4_platform.demo.market import default_capture

    if capture is None and not generated:
        capture = default_capture()
    job = Job((folder or PROJECT_ROOT / "var" / "demo").resolve(), capture, seed, market_seconds)
    try:
        job.run()
        summary = finish(job)
    except (ChildError, RuntimeError) as error:
        raise click.ClickException(f"{error}\nlogs: {job.folder / 'logs'}") from None
    if as_json:
        click.echo((job.folder / "summary.json").read_text(), nl=False)
    else:
        click.echo(f"\n  PnL after fees {summary['pnl_quote']:+.4f} USDT, {summary['fills']} fills, "
                   f"{summary['orders_sent']} orders; replay identical: {summary['replay_identical']}")  # fmt: skip
        click.echo(f"  report   {job.folder / 'report.html'}\n  figures  {job.folder / 'summary.json'}")
        click.echo(f"  Dagster  bot4 platform --demo   ({summary['stages_total_s']:.0f} s in all)")
