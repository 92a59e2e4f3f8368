"""Which model trades: watches current.json, fills the spare slot, and says when to swap."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from bot4_live.engine import Engine
from bot4_live.engine_events import model_swap, words_digest
from bot4_live.models.bundle import Bundle, load_digest
from bot4_live.models.current import Current, read_current


def require_current(models_dir: Path) -> Current:
    """Return the champion. Raises ValueError, saying what to do, when there is none or the file is broken."""
    current = read_current(models_dir)
    if current is None:
        raise ValueError(
            f"there is no model: {models_dir / 'current.json'} is missing; run the training and promotion assets "
            "(`bot4 platform`, or `bot4 demo`), or quote without one by --no-model"
        )
    return current


class ModelWatch:
    """Polls current.json; `poll` returns MODEL_SWAP when another champion was named and its bundle is good."""

    def __init__(self, models_dir: Path, engine: Engine) -> None:
        self._dir, self._engine = models_dir, engine
        self._stamp: tuple[int, int] | None = None
        self.champion: Current | None = None
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
        champion = require_current(self._dir)
        return self._swap(champion, load_digest(self._dir, champion.digest))

    async def poll(self) -> np.ndarray | None:
        """Return a MODEL_SWAP when there is one to do. A broken champion leaves the present one in use."""
        if not self._changed():
            return None
        try:
            champion = require_current(self._dir)
            if champion == self.champion:
                return None
            bundle = await asyncio.to_thread(load_digest, self._dir, champion.digest)
        except (ValueError, OSError) as error:
            self.complaint = str(error)
            return None
        return self._swap(champion, bundle)

    def _swap(self, champion: Current, bundle: Bundle) -> np.ndarray:
        state = self._engine.state
        slot = int(state["model"][0])
        if slot < 0 or words_digest(state["digest"][0, slot]) != champion.digest:
            slot = self._engine.spare_slot
            self._engine.load_model(slot, bundle)
        self.champion, self.complaint = champion, ""
        return model_swap(0, slot, champion.digest, champion.version, use=not champion.baseline)
