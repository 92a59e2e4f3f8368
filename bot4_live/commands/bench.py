"""`bot4 bench`."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

# Benchmarks of other packages: functions `run(*, rows, runs, progress) -> Result`, imported when asked for.
GROUP = "bot4.benchmarks"
OURS = ("hot-path", "wire")


def names() -> list[str]:
    """Return the names of all benchmarks; nothing is imported."""
    return [*OURS, *sorted(point.name for point in entry_points(group=GROUP))]


class Benchmark(click.ParamType):
    """One of `names`, looked up when the command runs."""

    name = "benchmark"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name of a benchmark."""
        if value not in names():
            self.fail(f"{value!r} is not one of {', '.join(names())}", param, ctx)
        return value

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return what help calls it."""
        return f"[{'|'.join(names())}]"


@click.command()
@click.argument("name", type=Benchmark())
@click.option(
    "--capture",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Frames to run on (default: the real capture beside the project, else the generator).",
)
@click.option("--messages", type=click.IntRange(min=2_000), help="How many frames of it (default: by benchmark).")
@click.option("--rows", type=click.IntRange(min=1), help="Of the others: how many rows (default: by benchmark).")
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True, help="The best of this many.")
@click.option("--no-compile", is_flag=True, help="hot-path: leave out the minute that compiling anew takes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    name: str,
    capture: Path | None,
    messages: int | None,
    rows: int | None,
    runs: int,
    no_compile: bool,
    as_json: bool,
) -> None:
    """Measure the hot path, the wire and the platform against named references.

    A figure that misses its bound while the machine is not quiet is inconclusive, not a pass.
    """
    from bot4_live import compile_cache

    compile_cache.install()

    def tell(line: str) -> None:
        click.echo(line, err=True)

    if name == "hot-path":
        from bot4_live.benchmarks import hot_path

        result = hot_path.run(
            capture,
            messages=messages or hot_path.MESSAGES,
            runs=runs,
            compile_time=not no_compile,
            progress=tell,
        )
    elif name != "wire":
        (point,) = entry_points(group=GROUP, name=name)
        result = point.load()(rows=rows, runs=runs, progress=tell)
    else:
        from bot4_live.benchmarks import wire

        result = wire.run(capture, messages=messages or wire.MESSAGES, runs=runs, progress=tell)
    if as_json:
        click.echo(json.dumps(result.as_dict()))
    else:
        _table(result.as_dict())


def _table(result: dict[str, Any]) -> None:
    """Print metrics with their notes, then what they were measured on."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result['name']}: best of {result['runs']} runs on {result['input']}", title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("note")
    for name, value in result["metrics"].items():
        note = result["notes"].get(name, "")
        if isinstance(value, dict):
            table.add_row(name, "  ".join(f"{key} {figure:,.2f}" for key, figure in value.items()), note)
        elif isinstance(value, str):
            table.add_row(name, value, note)
        else:
            table.add_row(name, "-" if value is None else f"{value:,}", note)
    console = Console()
    console.print(table)
    machine = result["machine"]
    state = "quiet" if result["quiet"] else "NOT quiet: figures that miss a bound are inconclusive"
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, numba {machine['numba']}; "
        f"{state} (stolen {result['stolen_pct']} %, jitter {result['jitter_ratio']}, "
        f"others took {result['others']} processors)",
        highlight=False,
    )
