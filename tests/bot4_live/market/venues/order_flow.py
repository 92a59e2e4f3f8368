"""A small exchange of limit orders, kept as one plain list, and what it would send on each venue's order channel.

It knows nothing of the code under test: priority is price, then a number that grows with each order that queues up.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from zlib import crc32

NAME = "BTC-USD"
PAIR = "BTC/USD"
STAMP = "2024-01-08T12:26:39.526146327Z"


@dataclass(frozen=True)
class Resting:
    id: str
    sign: int
    price: int
    qty: int
    turn: int


class Flow:
    """`step()` returns what one order did, as (what, order, lots): a taker's matches, and what came to rest or left."""

    def __init__(self, seed: int, orders: int = 30) -> None:
        self.rng = random.Random(seed)
        self.turn = 0
        self.count = 0
        self.rests: list[Resting] = []
        for _ in range(orders):
            sign = self.rng.choice([1, -1])
            self.rest(sign, 1000 - sign * self.rng.randrange(1, 12), self.rng.randrange(1, 90))

    def rest(self, sign: int, price: int, qty: int) -> Resting:
        self.count += 1
        self.turn += 1
        order = Resting(f"O{self.count:05}", sign, price, qty, self.turn)
        self.rests.append(order)
        return order

    def by_priority(self, sign: int) -> list[Resting]:
        return sorted((o for o in self.rests if o.sign == sign), key=lambda o: (-sign * o.price, o.turn))

    def levels(self, sign: int) -> list[tuple[int, int, int]]:
        prices = dict.fromkeys(o.price for o in self.by_priority(sign))
        at = {p: [o.qty for o in self.rests if (o.sign, o.price) == (sign, p)] for p in prices}
        return [(p, sum(at[p]), len(at[p])) for p in prices]

    def swap(self, old: Resting, **changes: int) -> Resting:
        new = replace(old, **changes)
        self.rests[self.rests.index(old)] = new
        return new

    def step(self) -> list[tuple[str, Resting, int]]:
        action = self.rng.choice(["limit", "limit", "limit", "cancel", "smaller", "larger", "move", "quiet"])
        if action == "limit" or len(self.rests) < 6:
            return self.limit()
        order = self.rng.choice(self.rests)
        if action == "cancel":
            self.rests.remove(order)
            return [("cancel", order, order.qty)]
        if action == "smaller" and order.qty > 1:
            return [("change", self.swap(order, qty=self.rng.randrange(1, order.qty)), order.qty)]
        self.turn += 1
        if action == "larger":
            return [("change", self.swap(order, qty=order.qty + 5, turn=self.turn), order.qty)]
        if action == "move":
            price = 1000 - order.sign * self.rng.randrange(1, 14)
            others = [o.price for o in self.rests if o.sign != order.sign]
            if price != order.price and all(order.sign * price < order.sign * p for p in others):
                return [("move", self.swap(order, price=price, turn=self.turn), order.price)]
        return [("quiet", order, 0)]

    def limit(self) -> list[tuple[str, Resting, int]]:
        sign, qty = self.rng.choice([1, -1]), self.rng.randrange(1, 120)
        price = 1000 - sign * self.rng.randrange(-4, 14)
        said = []
        for maker in self.by_priority(-sign):
            if qty == 0 or sign * maker.price > sign * price:
                break
            filled = min(qty, maker.qty)
            qty -= filled
            if filled == maker.qty:
                self.rests.remove(maker)
            else:
                self.swap(maker, qty=maker.qty - filled)
            said.append(("match", maker, filled))
        if qty:
            said.append(("open", self.rest(sign, price, qty), qty))
        return said


def number(units: int) -> str:
    return f"{units / 10:.1f}"


class Coinbase:
    """Numbers one product's messages; `frames(said)` are the objects of `full` or the arrays of `level3`."""

    def __init__(self, flow: Flow, compact: bool) -> None:
        self.flow, self.compact = flow, compact
        self.sequence = 100
        self.trades = 0

    def snapshot(self) -> bytes:
        sides = {"bids": 1, "asks": -1}
        rows = {
            key: [[number(o.price), number(o.qty), o.id] for o in self.flow.by_priority(sign)]
            for key, sign in sides.items()
        }
        return json.dumps({"sequence": self.sequence, "auction_mode": False, "time": STAMP} | rows).encode()

    def frames(self, said: list[tuple[str, Resting, int]]) -> list[bytes]:
        out = []
        for what, order, lots in said:
            for kind, fields in getattr(self, what)(order, lots):
                out.append(self.frame(kind, fields))
        return out

    def frame(self, kind: str, fields: dict[str, object]) -> bytes:
        self.sequence += 1
        head = {"type": kind, "product_id": NAME, "sequence": self.sequence}
        if not self.compact:
            return json.dumps(head | fields | {"time": STAMP}).encode()
        order_id = {k: v for k, v in fields.items() if k.endswith("order_id")}
        price = fields.get("new_price", fields.get("price"))
        size = fields.get("new_size", fields.get("remaining_size", fields.get("size")))
        tail = {
            "received": [],
            "open": [fields.get("side"), price, size],
            "match": [price, size],
            "change": [price, size],
            "done": [],
        }
        if kind == "received":
            return json.dumps(["noop", NAME, str(self.sequence), STAMP]).encode()
        row = [kind, NAME, str(self.sequence), *order_id.values(), *tail[kind], STAMP]
        return json.dumps(row).encode()

    def side(self, order: Resting) -> str:
        return "buy" if order.sign > 0 else "sell"

    def open(self, order, lots):
        common = {"order_id": order.id, "price": number(order.price), "side": self.side(order)}
        yield "received", common | {"size": number(lots), "order_type": "limit"}
        yield "open", common | {"remaining_size": number(lots)}

    def match(self, maker, lots):
        self.trades += 1
        common = {"price": number(maker.price), "side": self.side(maker)}
        yield (
            "match",
            common | {"maker_order_id": maker.id, "taker_order_id": "T", "size": number(lots), "trade_id": self.trades},
        )
        if lots == maker.qty:
            yield "done", common | {"order_id": maker.id, "reason": "filled", "remaining_size": "0"}

    def cancel(self, order, lots):
        common = {"order_id": order.id, "price": number(order.price), "side": self.side(order)}
        yield "done", common | {"reason": "canceled", "remaining_size": number(lots)}

    def change(self, order, lots):
        yield (
            "change",
            {"order_id": order.id, "price": number(order.price), "side": self.side(order), "reason": "STP",
             "old_size": number(lots), "new_size": number(order.qty)},
        )  # fmt: skip

    def move(self, order, before):
        size = number(order.qty)
        yield (
            "change",
            {"order_id": order.id, "side": self.side(order), "reason": "modify_order", "old_size": size,
             "new_size": size, "old_price": number(before), "new_price": number(order.price)},
        )  # fmt: skip

    def quiet(self, order, lots):
        yield "received", {"order_id": "M", "side": "buy", "order_type": "market", "funds": "12.5"}
        yield "done", {"order_id": "M", "side": "buy", "reason": "filled"}


class Kraken:
    """One `level3` message a step, with the checksum of the plain list; the book is cut to `depth` prices a side."""

    def __init__(self, flow: Flow, depth: int = 10) -> None:
        self.flow, self.depth = flow, depth
        self.seen = self.visible()

    def visible(self) -> dict[str, Resting]:
        kept = {}
        for sign in (1, -1):
            prices = [p for p, *_ in self.flow.levels(sign)][: self.depth]
            kept |= {o.id: o for o in self.flow.by_priority(sign) if o.price in prices}
        return kept

    def checksum(self) -> int:
        digits = []
        for sign in (-1, 1):
            prices = [p for p, *_ in self.flow.levels(sign)][:10]
            digits += [f"{o.price}{o.qty}" for o in self.flow.by_priority(sign) if o.price in prices]
        return crc32("".join(digits).encode())

    def message(self, what: str, events: list[tuple[str, Resting]]) -> bytes:
        def side(sign: int) -> str:
            rows = [
                (f'"event":"{event}",' if what == "update" else "")
                + f'"order_id":"{o.id}","limit_price":{number(o.price)},"order_qty":{number(o.qty)},'
                + f'"timestamp":"{STAMP}"'
                for event, o in events
                if o.sign == sign
            ]
            return "[" + ",".join("{" + row + "}" for row in rows) + "]"

        data = f'"symbol":"{PAIR}","checksum":{self.checksum()},"timestamp":"{STAMP}"'
        data += f',"bids":{side(1)},"asks":{side(-1)}'
        return ('{"channel":"level3","type":"' + what + '","data":[{' + data + "}]}").encode()

    def snapshot(self) -> bytes:
        self.seen = self.visible()
        orders = [("add", o) for sign in (1, -1) for o in self.flow.by_priority(sign) if o.id in self.seen]
        return self.message("snapshot", orders)

    def frames(self, said: list[tuple[str, Resting, int]]) -> list[bytes]:
        """Tell the difference of what is visible; nothing is said of orders that fell out of the depth."""
        now, everyone = self.visible(), {o.id: o for o in self.flow.rests}
        events = []
        for name, order in self.seen.items():
            current = everyone.get(name)
            if current is None:
                events.append(("delete", order))
            elif name in now and current != order:
                events += [("modify", current)] if current.turn == order.turn else [("delete", order)]
        again = {name for event, order in events if event == "delete" for name in [order.id] if name in now}
        fresh = [o for name, o in now.items() if name not in self.seen or name in again]
        gone = [o for name, o in self.seen.items() if name in everyone and name not in now]
        moved_out = [o for o in gone if everyone[o.id].price != o.price]
        events += [("delete", o) for o in moved_out]
        events += [("add", o) for o in sorted(fresh, key=lambda o: o.turn)]
        self.seen = now
        return [self.message("update", events)] if events else []
