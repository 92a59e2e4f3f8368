"""Logs and transactions to rows of `onchain_transfers`, `dex_swaps` and `stablecoin_supply`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from bot4_platform.sources.ethereum.abi import (
    BURN,
    DESTROYED,
    EVENTS,
    ISSUE,
    MINT,
    REDEEM,
    SWAP_V2,
    SWAP_V3,
    TRANSFER,
    ZERO,
    Event,
    decode_log,
    quantity,
)  # fmt: skip
from bot4_platform.sources.ethereum.blocks import Address, Block, Hash, Quantity, Transaction
from bot4_platform.sources.ethereum.known import ETH, POOLS, REFERENCE, TOKENS, Label, Pool, Token, flow
from bot4_platform.sources.ethereum.prices import Prices
from bot4_platform.sources.validation import LARGEST_NS, Rejected, raw_bytes

TOPICS = [event.topic for event in EVENTS]
ADDRESSES = [*TOKENS, *POOLS]
SUPPLY = {"tether": {ISSUE: "mint", REDEEM: "burn", DESTROYED: "burn"}, "circle": {MINT: "mint", BURN: "burn"}}
Row = dict[str, Any]


class RawLog(msgspec.Struct, frozen=True):
    """A log as eth_getLogs returns it. One that is still pending has no block, and no place here."""

    address: Address
    topics: Annotated[list[Hash], msgspec.Meta(max_length=4)]
    data: Annotated[str, msgspec.Meta(pattern="^0x([0-9a-fA-F]{2})*$", max_length=4096)]
    block_number: Quantity = msgspec.field(name="blockNumber")
    block_hash: Hash = msgspec.field(name="blockHash")
    tx_hash: Hash = msgspec.field(name="transactionHash")
    log_index: Quantity = msgspec.field(name="logIndex")
    removed: bool = False


@dataclass(frozen=True)
class Log:
    """A log that we know how to read: where it is and its arguments."""

    event: Event
    address: str
    values: dict[str, Any]
    block: int
    block_hash: str
    tx_hash: str
    log_index: int


@dataclass
class Found:
    """What a stretch of blocks came to, and what of it could not be read."""

    transfers: list[Row] = field(default_factory=list)
    swaps: list[Row] = field(default_factory=list)
    supply: list[Row] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def parse_logs(raws: Iterable[Any]) -> tuple[list[Log], list[Rejected]]:
    """Return the logs we read, in the chain's order, and what was sent as a log and is none.

    Events of a contract that we do not read (a pool's own Mint and Burn, say) and removed logs are passed over.
    """
    good: list[Log] = []
    bad: list[Rejected] = []
    by_topic = {event.topic: event for event in EVENTS}
    for raw in raws:
        try:
            found = msgspec.convert(raw, RawLog)
            event = by_topic.get(found.topics[0]) if found.topics else None
            if found.removed or event is None or not _ours(found.address.lower(), event):
                continue
            good.append(
                Log(
                    event, found.address.lower(), decode_log(event, found.topics, found.data),
                    quantity(found.block_number), found.block_hash, found.tx_hash, quantity(found.log_index),
                )
            )  # fmt: skip
        except (msgspec.ValidationError, ValueError) as error:
            bad.append(Rejected("schema", str(error), raw_bytes(raw)))
    return sorted(good, key=lambda log: (log.block, log.log_index)), bad


def _ours(address: str, event: Event) -> bool:
    """Return whether we read this event of this contract."""
    if pool := POOLS.get(address):
        return event is (SWAP_V3 if pool.protocol == "uniswap_v3" else SWAP_V2)
    token = TOKENS.get(address)
    return token is not None and (event is TRANSFER or event in SUPPLY.get(token.supply, {}))


def price_swaps(prices: Prices, logs: Sequence[Log]) -> None:
    """Put the reference pools' swaps into the table of prices."""
    for log in logs:
        if log.event is SWAP_V3 and log.address in REFERENCE.values():
            prices.add(log.address, log.block, log.log_index, log.values["sqrt_price_x96"])


class Reader:
    """Turns logs and transactions into rows, by the labels, the prices and the smallest values given."""

    def __init__(self, prices: Prices, labels: dict[str, Label], *, whale_usd: int, swap_usd: int) -> None:
        """Take what values and names them."""
        self.prices, self.labels = prices, labels
        self.whale_cents, self.swap_cents = whale_usd * 100, swap_usd * 100

    def add_log(self, log: Log, block: Block, created_ns: int, into: Found) -> None:
        """Add the rows of one log."""
        where: Row = {
            "id": f"{log.tx_hash}:{log.log_index}", "event_ns": block.event_ns, "created_ns": created_ns,
            "block": log.block, "block_hash": log.block_hash, "tx_hash": log.tx_hash, "log_index": log.log_index,
        }  # fmt: skip
        if pool := POOLS.get(log.address):
            self._swap(log, pool, where, into)
            return
        token = TOKENS[log.address]
        if log.event is TRANSFER:
            self._transfer(token, log.values["sender"], log.values["receiver"], log.values["amount"], where, into)
        self._supply(log, token, where, into)

    def add_native(self, transaction: Transaction, block: Block, created_ns: int, into: Found) -> None:
        """Add a transfer of ETH that the caller knows to have succeeded."""
        where: Row = {
            "id": f"{transaction.hash}:native", "event_ns": block.event_ns, "created_ns": created_ns,
            "block": block.number, "block_hash": block.hash, "tx_hash": transaction.hash, "log_index": -1,
        }  # fmt: skip
        assert transaction.receiver is not None
        receiver = transaction.receiver.lower()
        self._transfer(ETH, transaction.sender.lower(), receiver, quantity(transaction.value), where, into)

    def is_whale(self, transaction: Transaction, block: int) -> bool | None:
        """Return whether a transaction moves that much ETH, None when nobody knows what it is worth."""
        if transaction.receiver is None or (amount := quantity(transaction.value)) == 0:
            return False
        cents = self.prices.cents(ETH, amount, block)
        return None if cents is None else cents >= self.whale_cents

    def _transfer(self, token: Token, sender: str, receiver: str, amount: int, where: Row, into: Found) -> None:
        cents = self._cents([(token, amount)], where, into)
        if cents is None or cents < self.whale_cents:
            return
        known = (self.labels.get(sender), self.labels.get(receiver))
        into.transfers.append(
            where
            | {
                "token": token.symbol, "sender": sender, "receiver": receiver, "amount": str(amount),
                "decimals": token.decimals, "price_micros": self.prices.at(token, where["block"]), "usd_cents": cents,
                "sender_label": known[0].name if known[0] else "", "receiver_label": known[1].name if known[1] else "",
                "sender_entity": known[0].entity if known[0] else "",
                "receiver_entity": known[1].entity if known[1] else "", "flow": flow(*known),
            }
        )  # fmt: skip

    def _swap(self, log: Log, pool: Pool, where: Row, into: Found) -> None:
        given = log.values
        if log.event is SWAP_V3:
            amounts = (given["amount0"], given["amount1"])
            state = {"sqrt_price_x96": str(given["sqrt_price_x96"]), "tick": given["tick"]}
        else:
            amounts = (given["amount0_in"] - given["amount0_out"], given["amount1_in"] - given["amount1_out"])
            state = {"sqrt_price_x96": None, "tick": None}
        # The dollar side says what a swap is worth; without one, ether's.
        legs = sorted(
            zip((pool.token0, pool.token1), amounts, strict=True),
            key=lambda leg: (not leg[0].par, leg[0].symbol != "WETH"),
        )
        cents = self._cents([(token, abs(amount)) for token, amount in legs], where, into)
        if cents is None or cents < self.swap_cents:
            return
        into.swaps.append(
            where
            | {
                "protocol": pool.protocol, "pool": pool.address, "pair": pool.pair, "sender": given["sender"],
                "receiver": given["receiver"], "amount0": str(amounts[0]), "amount1": str(amounts[1]),
                "usd_cents": cents,
            }
            | state
        )  # fmt: skip

    def _supply(self, log: Log, token: Token, where: Row, into: Found) -> None:
        """Add a mint or burn, each from the one event that the token's contract has for it, so that it counts once."""
        given = log.values
        kind = SUPPLY.get(token.supply, {}).get(log.event)
        if (
            token.supply == "erc20"
            and log.event is TRANSFER
            and (given["sender"] == ZERO) != (given["receiver"] == ZERO)
        ):
            kind = "mint" if given["sender"] == ZERO else "burn"
        if kind is None:
            return
        cents = self._cents([(token, given["amount"])], where, into)
        if cents is None:
            return
        party = given.get("receiver", "") if kind == "mint" else given.get("sender", "")
        label = self.labels.get(party)
        into.supply.append(
            where
            | {
                "token": token.symbol, "kind": kind, "event": log.event.name, "party": party,
                "party_label": label.name if label else "", "amount": str(given["amount"]), "decimals": token.decimals,
                "usd_cents": cents,
            }
        )  # fmt: skip

    def _cents(self, legs: Sequence[tuple[Token, int]], where: Row, into: Found) -> int | None:
        """Return the value by the first leg with a price; without one, or past an int64, the row is rejected."""
        for token, amount in legs:
            cents = self.prices.cents(token, amount, where["block"])
            if cents is None:
                continue
            if cents > LARGEST_NS:
                raw = raw_bytes({"id": where["id"], "token": token.symbol, "amount": str(amount)})
                into.rejected.append(Rejected("out_of_range", f"{token.symbol} worth more than there is money", raw))
                return None
            return cents
        raw = raw_bytes({"id": where["id"], "legs": [(token.symbol, str(amount)) for token, amount in legs]})
        into.rejected.append(Rejected("no_price", "no reference swap in the 100 blocks before", raw))
        return None
