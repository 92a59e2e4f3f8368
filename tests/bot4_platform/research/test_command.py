"""`bot4 signals` on a generated capture, and docs/signals.md against the command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot4_live.features.registry import FEATURES
from bot4_live.simulation.generator import generate, write_capture
from bot4_platform.commands.signals import command
from bot4_platform.research.captures import USABLE
from bot4_platform.research.catalogue import FIGURES, SIGNALS
from bot4_platform.research.table import BEGIN, END, definitions

DOC = Path(__file__).resolve().parents[3] / "docs" / "signals.md"
CELL = re.compile(r"-|(\*\*|\()?[+-]\d\.\d\d \[[+-]\d\.\d\d, [+-]\d\.\d\d\] n \d+(\*\*|\))?")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signals") / "generated.gz"
    write_capture(path, generate(6, duration_s=70.0))
    return path


def test_the_command_judges_every_signal(capture: Path, tmp_path: Path) -> None:
    page, table = tmp_path / "page.html", tmp_path / "table.md"
    table.write_text(f"# Figures\n\n{BEGIN}\nfigures of yesterday\n{END}\n\nThe end.\n")
    done = CliRunner().invoke(command, [str(capture), "--json", "--report", str(page), "--table", str(table)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    (judged,) = found["captures"]
    assert [s["feature"] for s in judged["signals"]] == [s.feature for s in SIGNALS]
    assert found["tests"] == sum("p" in s for s in judged["signals"]) > 15
    for s in judged["signals"]:
        assert s["verdict"] in ("evidence", "no evidence", "too few to judge", "cannot be shown")
        assert s["reason"]
        if "p" in s:
            assert s["low"] <= s["high"]
            assert s["p"] <= s["q"] <= 1
    assert len(found["cannot_show"]) == 5

    text = page.read_text()
    assert all(f"{s.feature}" in text for s in SIGNALS)
    assert "What this cannot show" in text
    assert not re.search(r"""(src|href)=["'](?!#)""", text)  # reads offline
    assert text.count("<svg") == len(FIGURES) + 1

    written = table.read_text()
    assert written.startswith(f"# Figures\n\n{BEGIN}\n\n| D17 ")
    assert written.endswith(f"{END}\n\nThe end.\n")
    assert "yesterday" not in written


def test_without_json_it_is_said_in_lines(capture: Path) -> None:
    done = CliRunner().invoke(command, [str(capture), "--horizon", "500ms"])
    assert done.exit_code == 0, done.output
    assert "horizon 0.5 s" in done.stdout
    assert "imbalance_1 " in done.stdout
    assert "nothing of other days" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--horizon", "soon"], "'soon' is not a time"),
        (["--horizon", "150ms"], "multiple of 100 ms"),
        (["--horizon", "10s"], "too short for a horizon of 10 s: take at least"),
        (["--table", "{no_marks}"], "needs the lines"),
    ],
)
def test_what_it_refuses(capture: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    no_marks = tmp_path / "no_marks.md"
    no_marks.write_text("# Nothing\n")
    given = [a.replace("{no_marks}", str(no_marks)) for a in arguments]
    done = CliRunner().invoke(command, [str(capture), *given])
    assert done.exit_code != 0
    assert message in f"{done.output}{done.exception}"
    assert no_marks.read_text() == "# Nothing\n"


def test_without_captures_it_says_where_they_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT4_SHARED_DATA", str(tmp_path))
    done = CliRunner().invoke(command, [])
    assert done.exit_code == 1
    assert "BOT4_SHARED_DATA" in done.output


def test_the_documented_figures_have_the_commands_form() -> None:
    """Every signal with its definition, every claim with its figure, a cell a capture; written by no hand."""
    _, _, block = DOC.read_text().partition(BEGIN)
    block, end, _ = block.partition(END)
    assert end
    assert definitions() in block, "docs/signals.md is old: bot4 signals --table docs/signals.md"
    for text in FIGURES.values():
        assert f"Figure: {text}." in block
    for s in SIGNALS:
        (row,) = re.findall(rf"^\| `{s.feature}` \| {s.subject} \| (.*) \|$", block, re.MULTILINE)
        cells = row.split(" | ")
        assert len(cells) == len(USABLE)
        assert all(CELL.fullmatch(cell) for cell in cells), row
    assert all(f"`{Path(name).name}`" in block for name in USABLE)
    assert {s.feature for s in SIGNALS} <= {f.name for f in FEATURES}


@pytest.mark.slow
@pytest.mark.capture
def test_the_documented_figures_are_the_commands(shared_data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "signals.md"
    copy.write_text(DOC.read_text())
    paths = [str(shared_data / "captures" / name) for name in USABLE]
    done = CliRunner().invoke(command, [*paths, "--table", str(copy)])
    assert done.exit_code == 0, done.output
    assert copy.read_text() == DOC.read_text(), "docs/signals.md is old: bot4 signals --table docs/signals.md"
