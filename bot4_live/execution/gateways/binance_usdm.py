"""Binance USD-M futures: commands to requests, answers and user-stream messages to event records.

Pure translation: no socket, no clock, no state. Decimals are exact (ticks, lots, 1e-8 of quote); a number that does
not fit the instrument is an error, never a rounding. Message shapes: Binance USD-M API, "New Order (TRADE)",
"Event: Order Update", "Event: Balance and Position Update".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from bot4_live.clock import MS
from bot4_live.events import Flag, Kind, Source, header_of, new_record, note, slots_of
from bot4_live.execution.order_id import from_client_id, to_client_id
from bot4_live.execution.rest import Request
from bot4_live.instrument import E8, Instrument, to_e8

QUOTE_ASSETS = ("USDT", "USDC", "FDUSD", "BUSD", "USD")

# Error codes with a meaning of their own.
UNKNOWN_ORDER = -2011  # cancel: there is no such open order
NO_SUCH_ORDER = -2013  # query: the venue does not know the order (which proves nothing at first)
POST_ONLY_WOULD_TAKE = -5022  # a normal outcome of GTX

Json = Mapping[str, Any]


class Gateway:
    """Translates for one instrument; a record's recv_ns is given by the caller."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.symbol = instrument.symbol
        self.quote = next((q for q in QUOTE_ASSETS if instrument.symbol.endswith(q)), "USDT")

    # Commands to requests.

    def request(self, command: np.ndarray) -> Request:
        """Return the request of one command record. Raises ValueError for a kind that is no command."""
        head = header_of(command)
        kind, order_id = int(head["kind"]), int(head["a"])
        if kind == Kind.CMD_NEW:
            price, qty = (int(v) for v in slots_of(command)[0])
            return self.new_order(order_id, price, qty, int(head["flags"]))
        if kind == Kind.CMD_CANCEL:
            return self.cancel(order_id)
        if kind == Kind.CMD_CANCEL_ALL:
            return self.cancel_all()
        raise ValueError(f"kind {kind} is not a command")

    def new_order(self, order_id: int, price: int, qty: int, flags: int) -> Request:
        """Return POST /fapi/v1/order: a limit order of `qty` lots at `price` ticks. GTX is Binance's post-only."""
        if flags & Flag.POST_ONLY and flags & Flag.IOC:
            raise ValueError("an order cannot be post-only and immediate-or-cancel")
        life = "GTX" if flags & Flag.POST_ONLY else "IOC" if flags & Flag.IOC else "GTC"
        params = {
            "symbol": self.symbol,
            "side": "SELL" if flags & Flag.SELL else "BUY",
            "type": "LIMIT",
            "timeInForce": life,
            "quantity": str(self.instrument.qty(qty)),
            "price": str(self.instrument.price(price)),
            "newClientOrderId": to_client_id(order_id),
            "newOrderRespType": "ACK",
        }
        if flags & Flag.REDUCE_ONLY:
            params["reduceOnly"] = "true"
        return Request("POST", "/fapi/v1/order", params)

    def cancel(self, order_id: int) -> Request:
        """Return DELETE /fapi/v1/order by client id."""
        return Request("DELETE", "/fapi/v1/order", self._by_client_id(order_id))

    def cancel_all(self) -> Request:
        """Return DELETE /fapi/v1/allOpenOrders of the symbol."""
        return Request("DELETE", "/fapi/v1/allOpenOrders", {"symbol": self.symbol})

    def query(self, order_id: int) -> Request:
        """Return GET /fapi/v1/order by client id."""
        return Request("GET", "/fapi/v1/order", self._by_client_id(order_id))

    def open_orders(self) -> Request:
        """Return GET /fapi/v1/openOrders of the symbol."""
        return Request("GET", "/fapi/v1/openOrders", {"symbol": self.symbol})

    def trades_from(self, trade_id: int, limit: int = 1000) -> Request:
        """Return GET /fapi/v1/userTrades from `trade_id` on, oldest first."""
        return Request("GET", "/fapi/v1/userTrades", {"symbol": self.symbol, "fromId": trade_id, "limit": limit})

    def trades_since(self, start_ms: int, limit: int = 1000) -> Request:
        """Return GET /fapi/v1/userTrades from exchange time `start_ms` on (for an account without a known trade)."""
        return Request("GET", "/fapi/v1/userTrades", {"symbol": self.symbol, "startTime": start_ms, "limit": limit})

    def position(self) -> Request:
        """Return GET /fapi/v2/positionRisk of the symbol."""
        return Request("GET", "/fapi/v2/positionRisk", {"symbol": self.symbol})

    def balance(self) -> Request:
        """Return GET /fapi/v2/balance."""
        return Request("GET", "/fapi/v2/balance")

    def countdown(self, countdown_ms: int) -> Request:
        """Return POST /fapi/v1/countdownCancelAll: the venue cancels all unless renewed in time (0 stops it)."""
        return Request("POST", "/fapi/v1/countdownCancelAll", {"symbol": self.symbol, "countdownTime": countdown_ms})

    def _by_client_id(self, order_id: int) -> dict[str, str | int]:
        return {"symbol": self.symbol, "origClientOrderId": to_client_id(order_id)}

    # Answers to records.

    def on_order(
        self, order_id: int, order: Json, source: Source = Source.ORDER_REST, flags: int = 0
    ) -> list[np.ndarray]:
        """Return the event that an order as the venue shows it (answer, query, open order) amounts to.

        A FILLED order gives ORDER_ACCEPTED with its cumulative quantity: the fills themselves are events of their own.
        """
        status = str(order["status"])
        done = self.instrument.lots(order.get("executedQty") or "0")
        stamp = int(order.get("updateTime") or order.get("time") or 0)
        if status == "REJECTED":
            return [self._order(Kind.ORDER_REJECTED, order_id, 0, 0, stamp, source, flags)]
        venue_id = int(order["orderId"])
        if status == "CANCELED":
            return [self._order(Kind.ORDER_CANCELED, order_id, venue_id, done, stamp, source, flags)]
        if status in ("EXPIRED", "EXPIRED_IN_MATCH"):
            return [self._order(Kind.ORDER_EXPIRED, order_id, venue_id, done, stamp, source, flags)]
        if status in ("NEW", "PARTIALLY_FILLED", "FILLED"):
            record = self._order(Kind.ORDER_ACCEPTED, order_id, venue_id, done, stamp, source, flags, slots=1)
            slots_of(record)[0] = self._price(order["price"]), self.instrument.lots(order["origQty"])
            if order.get("side") == "SELL":
                header_of(record)["flags"] |= Flag.SELL
            return [record]
        raise ValueError(f"order status {status!r} is not known")

    def adopted(self, order_id: int, order: Json) -> np.ndarray:
        """Return ORDER_ADOPTED for an open order of ours that the journal does not know."""
        record = self.on_order(order_id, order, flags=Flag.REPLAYED)[0]
        header_of(record)["kind"] = Kind.ORDER_ADOPTED
        return record

    def on_trade(self, order_id: int, trade: Json, cumulative: int) -> list[np.ndarray]:
        """Return ORDER_FILL of one row of userTrades; `cumulative` lots of its order, this fill included."""
        return self._fill(
            order_id,
            trade_id=int(trade["id"]),
            venue_id=int(trade["orderId"]),
            price=str(trade["price"]),
            qty=str(trade["qty"]),
            cumulative=cumulative,
            fee=(trade.get("commission"), trade.get("commissionAsset")),
            flags=Flag.REPLAYED | (Flag.MAKER if trade.get("maker") else 0) | _side(trade["side"]),
            exch_ms=int(trade["time"]),
            source=Source.ORDER_REST,
        )

    def on_position(self, rows: list[Json]) -> np.ndarray:
        """Return the POSITION event of a positionRisk answer (one-way mode: the row of side BOTH; none is flat)."""
        mine = [r for r in rows if r.get("symbol") == self.symbol and r.get("positionSide", "BOTH") == "BOTH"]
        row: Json = mine[0] if mine else {"positionAmt": "0", "entryPrice": "0"}
        return self._position(row["positionAmt"], row["entryPrice"], int(row.get("updateTime") or 0), Source.ORDER_REST)

    def on_balance(self, rows: list[Json]) -> np.ndarray:
        """Return the BALANCE event of a balance answer. Raises ValueError when the quote asset is missing."""
        row = next((r for r in rows if r.get("asset") == self.quote), None)
        if row is None:
            raise ValueError(f"the account has no {self.quote} balance; fund it or trade another symbol")
        wallet, available = row["balance"], row.get("availableBalance", row["balance"])
        return self._record(Kind.BALANCE, 0, Source.ORDER_REST, _cut_e8(wallet), _cut_e8(available), 0)

    def refused(self, kind: Kind, order_id: int, code: int) -> np.ndarray:
        """Return ORDER_REJECTED, CANCEL_REJECTED or ORDER_UNKNOWN with a venue code or cause."""
        return self._order(kind, order_id, code, 0, 0, Source.ORDER_REST, 0)

    # User stream to records.

    def on_user_message(self, message: Json) -> list[np.ndarray]:
        """Return the events in one user-stream message; unknown kinds and other symbols give none.

        Raises ValueError or KeyError for a message that is not what its kind says.
        """
        kind = message.get("e")
        if kind == "ORDER_TRADE_UPDATE" and message["o"]["s"] == self.symbol:
            return self._order_update(message)
        if kind == "ACCOUNT_UPDATE":
            return self._account_update(message)
        return []

    def _order_update(self, message: Json) -> list[np.ndarray]:
        o = message["o"]
        order_id = from_client_id(str(o["c"]))
        if not order_id and o.get("C"):  # a cancel may carry a new client id; the original is then in C
            order_id = from_client_id(str(o["C"]))
        venue_id, stamp, done = int(o["i"]), int(message["T"]), self.instrument.lots(o["z"])
        side = _side(o["S"])
        what, source = o["x"], Source.USER_STREAM
        if what in ("TRADE", "CALCULATED"):  # CALCULATED: liquidation
            return self._fill(
                order_id,
                trade_id=int(o["t"]),
                venue_id=venue_id,
                price=o["L"],
                qty=o["l"],
                cumulative=done,
                fee=(o.get("n"), o.get("N")),
                flags=(Flag.MAKER if o.get("m") else 0) | side,
                exch_ms=stamp,
                source=source,
            )
        if not order_id:
            return []
        if what in ("NEW", "AMENDMENT"):
            record = self._order(Kind.ORDER_ACCEPTED, order_id, venue_id, done, stamp, source, side, slots=1)
            slots_of(record)[0] = self._price(o["p"]), self.instrument.lots(o["q"])
            return [record]
        if what == "CANCELED":
            return [self._order(Kind.ORDER_CANCELED, order_id, venue_id, done, stamp, source, 0)]
        if what in ("EXPIRED", "EXPIRED_IN_MATCH", "TRADE_PREVENTION"):
            return [self._order(Kind.ORDER_EXPIRED, order_id, venue_id, done, stamp, source, 0)]
        if what == "REJECTED":
            return [self._order(Kind.ORDER_REJECTED, order_id, 0, 0, stamp, source, 0)]
        raise ValueError(f"execution type {what!r} is not known")

    def _account_update(self, message: Json) -> list[np.ndarray]:
        body, stamp = message["a"], int(message.get("T") or message["E"])
        balances = [
            self._record(
                Kind.BALANCE, stamp, Source.USER_STREAM, _cut_e8(row["wb"]), _cut_e8(row.get("cw", row["wb"])), 0
            )
            for row in body.get("B", ())
            if row["a"] == self.quote
        ]
        positions = [
            self._position(row["pa"], row["ep"], stamp, Source.USER_STREAM)
            for row in body.get("P", ())
            if row["s"] == self.symbol and row.get("ps", "BOTH") == "BOTH"
        ]
        return balances + positions

    def _price(self, price: str) -> int:
        return self.instrument.ticks(price)

    def _fill(
        self,
        order_id: int,
        *,
        trade_id: int,
        venue_id: int,
        price: str,
        qty: str,
        cumulative: int,
        fee: tuple[str | None, str | None],
        flags: int,
        exch_ms: int,
        source: Source,
    ) -> list[np.ndarray]:
        """Return the fill, then a NOTE for what a person should know of it."""
        amount, asset = fee
        paid, notes = 0, []
        if amount is not None and Decimal(amount) != 0:
            if asset in (None, self.quote):
                paid = to_e8(amount)
            else:
                notes.append(f"fee of {amount} {asset} on trade {trade_id} is not in {self.quote} and is not counted")
        if not order_id:
            notes.append(f"fill of an order that is not ours: trade {trade_id}, {qty} at {price}")
        record = self._record(Kind.ORDER_FILL, exch_ms, source, order_id, trade_id, venue_id, slots=2)
        header_of(record)["flags"] = flags
        slots = slots_of(record)
        slots[0] = self._price(price), self.instrument.lots(qty)
        slots[1] = cumulative, paid
        return [record, *(note(text) for text in notes)]

    def _order(
        self, kind: Kind, order_id: int, b: int, c: int, exch_ms: int, source: Source, flags: int, *, slots: int = 0
    ) -> np.ndarray:
        record = self._record(kind, exch_ms, source, order_id, b, c, slots=slots)
        header_of(record)["flags"] = flags
        return record

    def _position(self, amount: str, entry: str, exch_ms: int, source: Source) -> np.ndarray:
        lots = self.instrument.lots(amount)
        return self._record(Kind.POSITION, exch_ms, source, lots, _cut_e8(entry), exch_ms * MS)

    def _record(
        self, kind: Kind, exch_ms: int, source: Source, a: int, b: int, c: int, *, slots: int = 0
    ) -> np.ndarray:
        record = new_record(kind, slots)
        head = header_of(record)
        head["source"], head["exch_ns"] = source, exch_ms * MS
        head["instrument"], head["inst_version"] = self.instrument.id, self.instrument.version
        head["a"], head["b"], head["c"] = a, b, c
        return record


def _cut_e8(value: str) -> int:
    """Return a balance or average price in 1e-8, further digits cut: averages are not on any grid."""
    return int(Decimal(value) * E8)


def _side(side: str) -> int:
    return int(Flag.SELL) if side == "SELL" else 0


def instrument_of(info: Json, known: Instrument) -> Instrument:
    """Return the instrument as exchangeInfo gives it: `known` when nothing has changed, else its next version.

    Fees are not in exchangeInfo and stay those of `known`. Raises ValueError when the symbol is not traded.
    """
    row = next((s for s in info["symbols"] if s["symbol"] == known.symbol), None)
    if row is None:
        raise ValueError(f"{known.symbol} is not listed at this venue; name a symbol that is")
    if row.get("status", "TRADING") != "TRADING":
        raise ValueError(f"{known.symbol} is {row['status']} at this venue; wait, or name another symbol")
    filters = {f["filterType"]: f for f in row["filters"]}
    lot_e8 = to_e8(filters["LOT_SIZE"]["stepSize"])
    limits: dict[str, Any] = {
        "tick_e8": to_e8(filters["PRICE_FILTER"]["tickSize"]),
        "lot_e8": lot_e8,
        "min_qty": to_e8(filters["LOT_SIZE"]["minQty"]) // lot_e8,
        "max_qty": to_e8(filters["LOT_SIZE"]["maxQty"]) // lot_e8,
        "min_notional_e8": to_e8(filters["MIN_NOTIONAL"]["notional"]),
        "price_digits": int(row["pricePrecision"]),
        "qty_digits": int(row["quantityPrecision"]),
    }
    if all(getattr(known, name) == value for name, value in limits.items()):
        return known
    return replace(known, version=known.version + 1, **limits)


def listed(info: Json, venue: str, symbol: str, number: int) -> Instrument:
    """Return an instrument that nothing is known of yet, as exchangeInfo lists it: its version 1.

    Raises ValueError when the symbol is not traded.
    """
    return instrument_of(info, Instrument(number, 0, venue, symbol, tick_e8=0, lot_e8=0))
