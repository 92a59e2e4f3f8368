"""The training set as arrays, with a digest that says whether two are the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bot4_live.features.registry import NAMES, layout_hash
from bot4_platform.mlops import files

if TYPE_CHECKING:
    import polars as pl

    from bot4_live.settings import Settings

# Besides one column a feature.
LABEL_COLUMNS = {
    "market": "String", "seq": "Int64", "recv_ns": "Int64", "end_ns": "Int64", "label": "Float64", "weight": "Float64",
}  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """Labelled rows in order of time. n rows; `x` has the registry's features in its order."""

    x: np.ndarray  # float64 (n, features)
    y: np.ndarray  # float64 (n,): forward mid return, bp
    weight: np.ndarray  # float64 (n,): uniqueness of the label
    start_ns: np.ndarray  # int64 (n,): recv_ns of the row
    end_ns: np.ndarray  # int64 (n,): recv_ns at which the label is known
    seq: np.ndarray  # int64 (n,)
    until_ns: int  # the last recv_ns of anything that was read to build it

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return int(self.y.size)

    def columns(self, names: tuple[str, ...]) -> np.ndarray:
        """Return the columns of these features in this order, float64 (n, len(names)), contiguous."""
        return np.ascontiguousarray(self.x[:, [NAMES.index(name) for name in names]])

    def digest(self) -> str:
        """Return the sha256 (hex) over every value, the layout of the features and the end of the data."""
        found = hashlib.sha256(f"{layout_hash()} {self.until_ns}".encode())
        for array in (self.x, self.y, self.weight, self.start_ns, self.end_ns, self.seq):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


def from_frame(frame: pl.DataFrame, until_ns: int) -> Dataset:
    """Return a training set's frame (`LABEL_COLUMNS` and one column a feature) as arrays, in order of time.

    Raises ValueError when a column is missing or a label is not finite.
    """
    lacking = [name for name in (*LABEL_COLUMNS, *NAMES) if name not in frame.columns]
    if lacking:
        raise ValueError(f"the training set lacks {', '.join(lacking)}: materialize training_set again")
    ordered = frame.sort("recv_ns", "market")
    data = Dataset(
        x=np.ascontiguousarray(ordered.select(NAMES).to_numpy().astype(np.float64)),
        y=ordered["label"].to_numpy().astype(np.float64),
        weight=ordered["weight"].to_numpy().astype(np.float64),
        start_ns=ordered["recv_ns"].to_numpy().astype(np.int64),
        end_ns=ordered["end_ns"].to_numpy().astype(np.int64),
        seq=ordered["seq"].to_numpy().astype(np.int64),
        until_ns=until_ns,
    )
    if not bool(np.isfinite(data.y).all()):
        raise ValueError("the training set holds labels that are not finite: materialize labels again")
    return data


def read(settings: Settings) -> Dataset:
    """Return the training set that the asset `training_set` wrote. Raises ValueError when there is none."""
    frame, about = files.read(files.training_set_path(settings))
    return from_frame(frame, int(about["until_ns"]))
