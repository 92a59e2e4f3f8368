"""Which model trades: watches current.json, fills the spare slot, and says when to swap."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bot4_live.engine import Engine
from bot4_live.engine_events import model_swap, words_digest
from bot4_live.models.bundle import Bundle, load_digest


@dataclass(frozen=True)
class Champion:
    """What current.json names. A baseline's score is computed and recorded, and skews nothing."""

    digest: str
    version: int
    alias: str
    baseline: bool


def read_current(models_dir: Path) -> Champion:
    """Return the champion. Raises ValueError, saying what to do, when there is none or the file is broken."""
    path = models_dir / "current.json"
    try:
        found = json.loads(path.read_text())
        return Champion(
            str(found["digest"]), int(found["version"]), str(found.get("alias", "champion")), bool(found["baseline"])
        )
    except FileNotFoundError:
        raise ValueError(
            f"there is no model: {path} is missing; run the training and promotion assets (`bot4 platform`, or "
            "`bot4 demo`), or quote without one by --no-model"
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error!r}); export the champion again or use --no-model") from None


class ModelWatch:
    """Polls current.json; `poll` returns MODEL_SWAP when another champion was named and its bundle is good."""

    def __init__(self, models_dir: Path, engine: Engine) -> None:
        self._dir, self._engine = models_dir, engine
        self._stamp: tuple[int, int] | None = None
        self.champion: Champion | None = None
        self.complaint = ""

    def _changed(self) -> bool:
        try:
            stat = (self._dir / "current.json").stat()
        except OSError:
            return False
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        return True

    def load_first(self) -> np.ndarray:
        """Load the champion before trading. Raises ValueError when it cannot be had."""
        self._changed()
        champion = read_current(self._dir)
        return self._swap(champion, load_digest(self._dir, champion.digest))

    async def poll(self) -> np.ndarray | None:
        """Return a MODEL_SWAP when there is one to do. A broken champion leaves the present one in use."""
        if not self._changed():
            return None
        try:
            champion = read_current(self._dir)
            if champion == self.champion:
                return None
            bundle = await asyncio.to_thread(load_digest, self._dir, champion.digest)
        except (ValueError, OSError) as error:
            self.complaint = str(error)
            return None
        return self._swap(champion, bundle)

    def _swap(self, champion: Champion, bundle: Bundle) -> np.ndarray:
        state = self._engine.state
        slot = int(state["model"][0])
        if slot < 0 or words_digest(state["digest"][0, slot]) != champion.digest:
            slot = self._engine.spare_slot
            self._engine.load_model(slot, bundle)
        self.champion, self.complaint = champion, ""
        return model_swap(0, slot, champion.digest, champion.version, use=not champion.baseline)
