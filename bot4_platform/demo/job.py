"""The main job, end to end: exchange, capture, platform, two live sessions, kill, replay, report."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot4_live.clock import day_of
from bot4_live.journal.client import settle
from bot4_live.safety.control import CONTROL_FILE, ControlBlock
from bot4_live.settings import Settings, load
from bot4_live.simulation import bad_frames
from bot4_live.simulation.generator import generate, write_capture
from bot4_live.simulation.source import capture_source
from bot4_platform.demo import platform_run
from bot4_platform.demo.children import Child, ChildError, Children
from bot4_platform.demo.market import GENERATED_S, SPARE_S, Exchange, Keys
from bot4_platform.demo.plan import SECOND, Plan, make_plan
from bot4_platform.demo.progress import Stages
from bot4_platform.settings import platform_settings

ACCOUNTS = "accounts.json"
COMPILE_S = 900.0  # a cold cache takes two minutes on two free processors
REPLAY_S = 600.0
READY_S = 90.0
POSITION_WAIT_S = 8.0
SETTLED_S = 2.5


@dataclass
class Job:
    """One run; `run` fills the fields that the summary and the report read."""

    folder: Path
    capture: Path | None
    seed: int
    longest_s: float
    stages: Stages = field(default_factory=Stages)
    settings: Settings = field(init=False)
    exchange: Exchange = field(init=False)
    plan: Plan = field(init=False)
    clock: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    sessions: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> None:
        """Do everything up to the report. Raises ChildError, ValueError or OSError with what went wrong."""
        self._check()
        keys = self._prepare()
        environment = {
            "BOT4_VAR": str(self.folder),
            "BOT4_ACCOUNT": self.facts["account"],
            "PYTHONUNBUFFERED": "1",
            **keys.environment(),
        }
        with Children(environment, self.folder / "logs") as children:
            warm = children.start("compile", "-m", "bot4_live.warm", command=[sys.executable])
            self._start_exchange(children, keys)
            sources = self._start_sources(children)
            # The platform runs in this process: it reads the same environment as the children.
            environment |= {"BOT4_REST_URL": self.exchange.rest, "BOT4_WS_URL": self.facts["ws"]}
            children.env.update(environment)
            os.environ.update(environment)
            self.settings = load()
            watchdog = children.start("watchdog", "watchdog")
            watchdog.next_json(READY_S)
            self._capture(children)
            with self.stages.stage("compile", "waiting for the engine to be compiled (begun at the start)"):
                warm.wait(COMPILE_S)
            self._verify(children)
            self._platform(children, sources)
            self._live(children)
            self._kill(children)
            self._account()
            self._close_the_loop(children)
            self._replay(children)
        shutil.rmtree(self.settings.shm_dir, ignore_errors=True)  # the account will not trade again

    # Stages.

    def _check(self) -> None:
        """Refuse what cannot work, before the last run's folder is moved aside."""
        load()
        platform_settings()
        if self.capture is not None:
            source = capture_source(self.capture)
            make_plan(source.start_ns, source.last_ns + source.skew_ns, self.longest_s)

    def _prepare(self) -> Keys:
        previous = self.folder.with_name(f"{self.folder.name}-previous")
        with self.stages.stage("prepare", f"a fresh account under {self.folder}"):
            # A folder without accounts (screenshots of the tests, say) is no run to keep.
            if (self.folder / ACCOUNTS).exists():
                if previous.exists():
                    shutil.rmtree(previous)
                self.folder.rename(previous)
            self.folder.mkdir(parents=True, exist_ok=True)
            self.facts["account"] = datetime.now(UTC).strftime("demo-%Y%m%d-%H%M%S")
            keys = Keys.make()
            keys.write_accounts(self.folder / ACCOUNTS, self.facts["account"])
            frames = bad_frames.bad_frames()
            bad_frames.save(self.folder / "bad-frames.json", frames)
            self.facts["bad_frames"] = {r.name: n for r, n in bad_frames.expected(frames).items()}
        return keys

    def _start_exchange(self, children: Children, keys: Keys) -> None:
        with self.stages.stage("exchange", "starting the simulated exchange"):
            longest_s = self.longest_s if self.capture else min(GENERATED_S, self.longest_s)
            market = (
                ["--capture", str(self.capture)]
                if self.capture
                else ["--seed", str(self.seed), "--duration", str(longest_s + SPARE_S)]
            )
            args = ["--port", "0", "--paused", "--accounts", str(self.folder / ACCOUNTS)]
            args += ["--bad-frames", str(self.folder / "bad-frames.json")]
            ready = children.start("exchange", "exchange", *market, *args).next_json(READY_S)
            self.exchange = Exchange(ready["rest"], keys.token)
            self.facts["ws"] = ready["ws"]
            self.clock = self.exchange.clock()
            begin = int(self.clock["market_ns"]) - int(self.clock["shift_ns"])
            self.plan = make_plan(begin, int(self.clock["end_ns"]), longest_s)
            self.stages.say(f"market: {self.clock['source']}, {(self.plan.end_ns - begin) / SECOND:.0f} s of it")

    def _start_sources(self, children: Children) -> Child:
        """Start the stand-ins of the slow sources; they tell of the market's first day and are asked much later."""
        day = day_of(self.plan.begin_ns)
        return children.start("sources", "--day", day, command=[sys.executable, "-m", "bot4_platform.sources.local"])

    def _run_market(self, until_ns: int, speed: float) -> None:
        self.exchange.clock(speed_milli=round(speed * 1000), until_ns=until_ns, paused=False)

    def _capture(self, children: Children) -> None:
        plan = self.plan
        title = f"capturing {plan.captured_s:.0f} s of market at {plan.capture_speed:g}x"
        with self.stages.stage("capture", title):
            self.exchange.clock(speed_milli=round(plan.capture_speed * 1000))
            recorder = children.start("record", "record", "--until", str(plan.live_from_ns), "--json")
            time.sleep(0.1)
            while recorder.process.poll() is None and not self._connected(recorder):
                time.sleep(0.05)
            self._run_market(plan.live_from_ns, plan.capture_speed)
            while recorder.process.poll() is None and (now := self.exchange.clock())["paused"] is False:
                self.stages.tick(f"{now['frames_sent']:,} frames")
                time.sleep(0.5)
            result = recorder.finish(60)
            self.facts["capture"] = result
            self.stages.say(f"{result['counts']['frames']:,} frames journaled")

    def _connected(self, recorder: Child) -> bool:
        return self.exchange.clock().get("clients", 1) > 0

    def _verify(self, children: Children) -> None:
        with self.stages.stage("verify_book", "proving the order book against the best quotes"):
            if self.capture is not None:
                args = ["verify-book", str(self.capture), "--json"]
            else:
                path = self.folder / "generated.gz"
                write_capture(path, generate(self.seed, duration_s=min(GENERATED_S, self.longest_s)))
                args = ["verify-book", str(path), "--json"]
            self.facts["book"] = children.start("verify-book", *args).finish(120)
            book = self.facts["book"]
            self.stages.say(f"{book['matched']:,} of {book['compared']:,} best quotes match, {book['gaps']} gaps")

    def _platform(self, children: Children, sources: Child) -> None:
        with self.stages.stage("platform", "Dagster: ticks, candles, features, quality, training, promotion"):
            children.env.update(sources.next_json(READY_S)["environment"])
            self._materialize(children, "platform", platform_run.EVERYTHING)

    def _close_the_loop(self, children: Children) -> None:
        """What was traded becomes history: the live sessions' journal goes the way of the capture's."""
        with self.stages.stage(
            "live_to_lake", "Dagster again: the live sessions' journal into ticks, candles, features"
        ):
            settle(self.settings.journal_dir, self.settings.shm_dir)
            self._materialize(children, "platform-live", platform_run.WHAT_LIVE_ADDED)

    def _materialize(self, children: Children, name: str, selection: str) -> None:
        command = [sys.executable, "-m", "bot4_platform.demo.platform_run"]
        run = children.start(name, selection, command=command)
        while "summary" not in (step := run.next_json(300)):
            verdict = "" if step["ok"] else "  FAILED"
            self.stages.say(f"{step['done']:3d}/{step['total']} {step['name']:<44} {step['seconds']:5.1f} s{verdict}")
        run.finish(30)
        self.facts.setdefault("platform", []).append(step["summary"])

    def _live(self, children: Children) -> None:
        plan = self.plan
        title = f"live (paper) at {plan.live_speed:g}x, market time after everything that trained the model"
        with self.stages.stage("live", title):
            self.sessions.append(self._session(children, "live-1", plan.real_time_from_ns, plan.live_speed))
        with self.stages.stage("real_time", "restarted at 1x, where latencies mean something"):
            self.sessions.append(self._session(children, "live-2", plan.kill_ns, 1.0))

    def _session(self, children: Children, name: str, until_ns: int, speed: float) -> dict[str, Any]:
        """Run one session to its clean stop and return its report; the market pauses when it has stopped."""
        shift = int(self.clock["shift_ns"])
        self.exchange.clock(speed_milli=round(speed * 1000))
        runner = children.start(name, "live", "--until-market-ns", str(until_ns + shift), "--json")
        ready = self._begin(runner, until_ns + SECOND, speed)
        self.facts.setdefault("live_from_ns", int(ready["market_ns"]) - shift)
        self.stages.say(f"trading: model version {ready['model_version']}, position {ready['position_lots']} lots")
        while runner.process.poll() is None:
            self.stages.tick(f"{(until_ns - self.exchange.original_ns()) / SECOND:.0f} s of market left")
            time.sleep(0.5)
        runner.finish(30)
        report = self._report_of(ready["session"])
        counted = report["counters"]
        self.stages.say(f"{counted['orders_sent']} orders, {counted['fills']} fills, stopped cleanly")
        return report | {"speed": speed}

    def _report_of(self, session: str) -> dict[str, Any]:
        """Return what a session left: counters and latency histograms."""
        report: dict[str, Any] = json.loads((self.settings.state_dir / f"latency-{session}.json").read_text())
        return report

    def _begin(self, runner: Child, until_ns: int, speed: float) -> dict[str, Any]:
        """Let the market run once the runner is prepared; return what it says when it trades.

        Raises ChildError when its stretch of market is over before it trades, as on a machine that is far too busy.
        """
        runner.next_json(READY_S)
        self._run_market(until_ns, speed)
        said = runner.next_json(READY_S)
        if said.get("state") != "trading":
            raise ChildError(f"{runner.name} did not trade before its stretch of market was over{runner.tail()}")
        return said

    def _kill(self, children: Children) -> None:
        """The button, pressed while there are open orders and a position."""
        with self.stages.stage("kill", "the kill button, pressed with open orders and a position"):
            block = ControlBlock(self.settings.shm_dir / CONTROL_FILE)
            runner = children.start("live-3", "live")
            # To the recording's end, past the plan's: a slow machine may need longer to get its orders out.
            session = self._begin(runner, int(self.clock["end_ns"]), 1.0)["session"]
            self.facts["position_taken"] = self._take_position(block)
            self.facts["at_kill"] = {
                "open_orders": block.get("open_orders"), "position_lots": block.get("position_lots")
            }  # fmt: skip
            self.stages.say(f"pressed with {self.facts['at_kill']}")
            children.start("press", "watchdog", "press").finish(10)
            path = self.settings.state_dir / "kill.json"
            deadline = time.monotonic() + self.settings.kill_budget_s + 15
            while not self._confirmed(path):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the kill was not confirmed; see {path} and the watchdog's log")
                time.sleep(0.02)
            self.facts["kill"] = json.loads(path.read_text())
            self.facts["runner_exit"] = runner.wait(10)
            self.facts["last_session"] = self._report_of(session)
            kill = self.facts["kill"]
            self.stages.say(f"flat after {kill['flat_ms']:.0f} ms, confirmed after {kill['kill_ms']:.0f} ms")

    def _take_position(self, block: ControlBlock) -> bool:
        """Wait for orders and a position; ask for the smallest position, by the ordinary path, when none comes."""
        asked = False
        began = time.monotonic()
        while time.monotonic() - began < 3 * POSITION_WAIT_S:
            settled = time.monotonic() - began > SETTLED_S  # a session worth the name, its counters on disk
            if settled and block.get("open_orders") > 0 and block.get("position_lots") != 0:
                return asked
            if not asked and block.get("position_lots") == 0 and time.monotonic() - began > 1.0:
                block.set("intent_lots", 1)
                block.set("intent_id", time.monotonic_ns())
                asked = True
            time.sleep(0.02)
        return asked

    @staticmethod
    def _confirmed(path: Path) -> bool:
        return path.exists() and json.loads(path.read_text()).get("state") == "confirmed"

    def _account(self) -> None:
        from bot4_platform.demo.venue_truth import read_account

        with self.stages.stage("account", "asking the exchange what the account came to"):
            self.facts["venue"] = read_account(self.settings)
            self.exchange.clock(paused=True)

    def _replay(self, children: Children) -> None:
        with self.stages.stage("replay", "replaying the journal in a fresh process"):
            args = ["replay", str(self.settings.journal_dir), "--models", str(self.settings.models_dir), "--json"]
            replay = children.start("replay", *args)
            replay.wait(REPLAY_S)
            self.facts["replay"] = replay.finish(5)
            result = self.facts["replay"]
            self.stages.say(f"{result['commands']:,} commands, identical: {result['identical']}")
