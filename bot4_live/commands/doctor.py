"""`bot4 doctor`: is this machine good for Bot4?"""

from __future__ import annotations

import json
import sys

import click

MARKS = {"ok": "ok", "note": "--", "missing": "!!"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def command(as_json: bool) -> None:
    """Say what this machine has and lacks.

    Exit code 1 when something required is missing; notes are about what only works less well.
    """
    from bot4_live import settings as configuration
    from bot4_live.machine import examine

    findings = examine(configuration.load())
    failed = [finding for finding in findings if finding.required and finding.state == "missing"]
    if as_json:
        click.echo(json.dumps({"ready": not failed, "findings": [finding.public() for finding in findings]}))
    else:
        for finding in findings:
            advice = f"\n{'':20}{finding.advice}" if finding.advice else ""
            click.echo(f"{MARKS[finding.state]}  {finding.name:16}{finding.text}{advice}")
        click.echo("ready" if not failed else f"not ready: {', '.join(finding.name for finding in failed)}")
    if failed:
        sys.exit(1)
