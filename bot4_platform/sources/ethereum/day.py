"""One UTC day of the chain into the lake: resumable, and corrected after a reorganisation.

`chain_blocks` is the state: the hash of every block that was read. It is written after the rows of its blocks, so
what a killed run wrote beyond it is read again. A later run asks the node for the last hash it has; where that is not
on the node's chain any more, rows and blocks after the last common block go and are read anew. Running again changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from bot4_live.clock import DAY_NS, day_start_ns
from bot4_platform.lake import Lake
from bot4_platform.sources.errors import BadPage, SourceRefused, SourceUnavailable
from bot4_platform.sources.ethereum.blocks import (
    Block,
    Transaction,
    chunks,
    day_range,
    get_blocks,
    last_of_day,
    linked,
    still_there,
)  # fmt: skip
from bot4_platform.sources.ethereum.known import REFERENCE, labels
from bot4_platform.sources.ethereum.node import Node
from bot4_platform.sources.ethereum.prices import WINDOW, Prices
from bot4_platform.sources.ethereum.rows import ADDRESSES, TOPICS, Found, Log, Reader, parse_logs, price_swaps
from bot4_platform.sources.ethereum.settings import EthereumSettings
from bot4_platform.sources.progress import Progress, Tell, silent
from bot4_platform.sources.publication import Publication
from bot4_platform.sources.quarantine import quarantine
from bot4_platform.sources.state import locked
from bot4_platform.sources.validation import Rejected, raw_bytes, rejected_page

if TYPE_CHECKING:
    import polars as pl

SOURCE = "ethereum"
SCOPE = "ethereum:MAINNET"
MAIN_NET = 1
BLOCKS = "chain_blocks"
ROWS = {"onchain_transfers": "transfers", "dex_swaps": "swaps", "stablecoin_supply": "supply"}
SLOT_NS = 12_000_000_000
CHUNK = 100  # blocks read at once; whole ones are half a megabyte each
SAVE_EVERY = 1000  # blocks between two writes of the day
TRIES = 5  # of a chunk whose chain moved while it was read


@dataclass
class DayResult:
    """What a run did: the day's range of blocks, those read now, those taken back, and the rows of the whole day."""

    first_block: int
    last_block: int
    blocks: int = 0
    taken_back: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    rejected: int = 0
    requests: int = 0


def publication(settings: EthereumSettings) -> Publication:
    """Return the lag of a row: its block must be that deep, and the node asked."""
    lag = (settings.confirmations + 1) * SLOT_NS
    return Publication(lag, f"{settings.confirmations} confirmations of 12 s, and one slot to ask")


def read_day(
    lake: Lake,
    node: Node,
    settings: EthereumSettings,
    day: str,
    *,
    now: Callable[[], int],
    backfill: bool,
    tell: Tell = silent,
) -> DayResult:
    """Bring a UTC day in the lake up to the node's chain and return what was done.

    Raises SourceUnavailable, SourceRefused and BadPage, which is quarantined too; what was saved until then is kept.
    """
    with locked(lake, BLOCKS, day, SCOPE):
        run = _Day(lake, node, settings, day, now, backfill)
        try:
            return run.read(tell)
        except BadPage as page:
            quarantine(lake, SOURCE, day, SCOPE, [rejected_page(page)], now_ns=now())
            raise


class _Day:
    """A run over one day. `blocks` and `rows` are the day as it stands."""

    def __init__(
        self, lake: Lake, node: Node, settings: EthereumSettings, day: str, now: Callable[[], int], backfill: bool
    ) -> None:
        self.lake, self.node, self.settings, self.day, self.now = lake, node, settings, day, now
        self.backfill, self.lag = backfill, publication(settings)
        self.prices = Prices()
        self.reader = Reader(
            self.prices, labels(settings.labels), whale_usd=settings.whale_usd, swap_usd=settings.swap_usd
        )  # fmt: skip
        self.blocks = self._stored(BLOCKS).to_dicts()
        self.rows = {table: self._stored(table).to_dicts() for table in ROWS}

    def read(self, tell: Tell) -> DayResult:
        """Read what is missing."""
        if (chain := self.node.chain_id()) != MAIN_NET:
            raise SourceRefused(
                f"{SOURCE}: the node is of chain {chain}; contracts and labels are the main net's (1)", 200
            )
        head = self.node.block_number() - self.settings.confirmations
        taken_back = self._take_back()
        if self.blocks:
            first, last = (int(self.blocks[at]["block"]) for at in (0, -1))
            if self._open():
                last = last_of_day(self.node, self.day, head, self.now(), last)
        else:
            first, last = day_range(self.node, self.day, head, self.now())
        result = DayResult(first, last, taken_back=taken_back)
        begin = int(self.blocks[-1]["block"]) + 1 if self.blocks else first
        if begin <= last:
            self._price_before(begin)
        unsaved = 0
        for numbers in chunks(begin, last, CHUNK):
            found = self._chunk(numbers)
            unsaved += len(numbers)
            result.rejected += len(found.rejected)
            quarantine(self.lake, SOURCE, self.day, SCOPE, found.rejected, now_ns=self.now())
            rows = sum(len(rows) for rows in self.rows.values())
            tell(Progress(SOURCE, numbers[-1] - first + 1, last - first + 1, rows, self.node.requests, result.rejected))
            if unsaved >= SAVE_EVERY:
                self._save()
                unsaved = 0
        result.blocks = max(0, last - begin + 1)
        if unsaved or taken_back or not self.lake.exists(BLOCKS, self.day, SCOPE):
            self._save()
        result.rows = {table: len(rows) for table, rows in self.rows.items()}
        result.requests = self.node.requests
        return result

    def _open(self) -> bool:
        """Return whether blocks of the day may be missing: the last read is not the day's last slots."""

        return bool(self.blocks[-1]["event_ns"] + SLOT_NS < day_start_ns(self.day) + DAY_NS)

    def _stored(self, table: str) -> pl.DataFrame:
        from bot4_platform.tables import TABLES

        if not self.lake.exists(table, self.day, SCOPE):
            return TABLES[table].empty()
        return self.lake.read(table, self.day, SCOPE)

    def _take_back(self) -> int:
        """Drop blocks that left the chain, and every row that has no block here; return how many blocks went."""
        known = [(int(row["block"]), str(row["id"])) for row in self.blocks]
        kept = still_there(self.node, known, self.now())
        del self.blocks[kept:]
        last = int(self.blocks[-1]["block"]) if self.blocks else -1
        self.rows = {table: [row for row in rows if row["block"] <= last] for table, rows in self.rows.items()}
        return len(known) - kept

    def _price_before(self, begin: int) -> None:
        """Fill the table of prices with the blocks before the first that is read."""
        first = max(0, begin - WINDOW)
        if first == begin:
            return
        pools = sorted(set(REFERENCE.values()))
        for _, _, raws in self.node.logs(first, begin - 1, pools, TOPICS, span=self.settings.span):
            price_swaps(self.prices, parse_logs(raws)[0])

    def _chunk(self, numbers: range) -> Found:
        """Read some blocks, all from one chain: their hashes link, and each log names the hash of its block."""
        for _ in range(TRIES):
            before = str(self.blocks[-1]["id"]) if self.blocks else None
            blocks = get_blocks(self.node, numbers, whole=self.settings.native, now_ns=self.now())
            raws = [
                raw
                for _, _, some in self.node.logs(
                    numbers[0], numbers[-1], ADDRESSES, TOPICS, span=self.settings.span
                )
                for raw in some
            ]  # fmt: skip
            logs, bad = parse_logs(raws)
            by_number = {block.number: block for block in blocks}
            misplaced = [log for log in logs if log.block not in by_number]
            bad += [
                Rejected("schema", "a log of a block that was not asked for", raw_bytes(log.tx_hash))
                for log in misplaced
            ]
            logs = [log for log in logs if log.block in by_number]
            if linked(blocks, before) and all(by_number[log.block].hash == log.block_hash for log in logs):
                found = self._rows(blocks, logs)
                found.rejected += bad
                self._keep(blocks, found)
                return found
        raise SourceUnavailable(
            f"{SOURCE}: the chain moved {TRIES} times while blocks {numbers[0]} to {numbers[-1]} were read"
        )

    def _rows(self, blocks: Sequence[Block], logs: Sequence[Log]) -> Found:
        price_swaps(self.prices, logs)
        self.prices.drop_before(blocks[0].number)
        found = Found()
        by_number = {block.number: block for block in blocks}
        for log in logs:
            block = by_number[log.block]
            self.reader.add_log(log, block, self._created(block), found)
        if self.settings.native:
            self._native(blocks, found)
        return found

    def _native(self, blocks: Sequence[Block], found: Found) -> None:
        """Add ETH transfers; their receipts say which of them succeeded."""
        large: list[tuple[Transaction, Block]] = []
        for block in blocks:
            for raw in block.transactions:
                try:
                    transaction = msgspec.convert(raw, Transaction)
                except msgspec.ValidationError as error:
                    found.rejected.append(Rejected("schema", str(error), raw_bytes(raw)))
                    continue
                whale = self.reader.is_whale(transaction, block.number)
                if whale is None:
                    found.rejected.append(
                        Rejected("no_price", "no reference swap in the 100 blocks before", raw_bytes(raw))
                    )
                elif whale:
                    large.append((transaction, block))
        receipts = self.node.batch([("eth_getTransactionReceipt", [transaction.hash]) for transaction, _ in large])
        for (transaction, block), receipt in zip(large, receipts, strict=True):
            status = receipt.get("status") if isinstance(receipt, dict) else None
            if status == "0x1":
                self.reader.add_native(transaction, block, self._created(block), found)
            elif status != "0x0":
                found.rejected.append(Rejected("schema", "a receipt without a status", raw_bytes(receipt)))

    def _created(self, block: Block) -> int:
        return self.lag.created_ns(block.event_ns, self.now(), backfill=self.backfill)

    def _keep(self, blocks: Sequence[Block], found: Found) -> None:
        self.blocks += [
            {
                "id": block.hash, "event_ns": block.event_ns, "created_ns": self._created(block), "block": block.number,
                "parent_hash": block.parent_hash, "transactions": len(block.transactions),
            }
            for block in blocks
        ]  # fmt: skip
        for table, name in ROWS.items():
            self.rows[table] += getattr(found, name)

    def _save(self) -> None:
        """Write the day: the rows, and then the blocks that they are of."""
        import polars as pl

        from bot4_platform.tables import TABLES

        everything: dict[str, list[dict[str, Any]]] = {**self.rows, BLOCKS: self.blocks}
        for table, rows in everything.items():
            self.lake.write(table, self.day, SCOPE, pl.DataFrame(rows, schema=TABLES[table].schema()))
