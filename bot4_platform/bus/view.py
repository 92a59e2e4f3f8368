"""Messages as JSON for people and scripts: every number by its name, prices in ticks and quantities in lots."""

from __future__ import annotations

from typing import Any

from bot4_live.events import HEADER_SIZE, Field, Flag, Kind, bits_float, slot_value
from bot4_live.settings import PARAM_IDS
from bot4_platform.bus.envelope import BadMessage, Envelope
from bot4_platform.bus.schema import KINDS, Shape, topic_of

_PARAMS = {number: name for name, number in PARAM_IDS.items()}
_FIELDS = {field.value: field.name.lower() for field in Field}
_KINDS = {kind.value: kind.name for kind in Kind}


def view(envelope: Envelope) -> dict[str, Any]:
    """Return a message as plain JSON values; numbers stay integers, decimals of venues are text.

    `exch_ns` is original exchange time (the session's shift removed). Of a kind that this version does not know the
    fields are called a, b, c and slots. Raises BadMessage for a body that is not its kind's.
    """
    head, shape = envelope.head, KINDS.get(envelope.kind)
    exch_ns = int(head["exch_ns"])
    found: dict[str, Any] = {
        "topic": topic_of(envelope.kind), "account": envelope.account, "key": envelope.key, "seq": envelope.seq,
        "index": envelope.index, "kind": _KINDS.get(envelope.kind, str(envelope.kind)), "market": envelope.market,
        "session": envelope.session, "recv_ns": int(head["recv_ns"]),
        "exch_ns": exch_ns - envelope.shift_ns if exch_ns else 0, "source": int(head["source"]),
        "flags": [flag.name.lower() for flag in Flag if int(head["flags"]) & flag and flag.name],
    }  # fmt: skip
    if shape is None:
        return found | {name: int(head[name]) for name in "abc"} | {"slots": envelope.slots}
    found |= {name: int(head[letter]) for letter, name in zip("abc", shape[1:4], strict=True) if name}
    if envelope.omitted:
        return found | {"omitted": True}
    try:
        return found | _body(envelope, shape)
    except (ArithmeticError, LookupError) as error:
        raise BadMessage(f"the body of {found['kind']} {envelope.seq} cannot be read ({error!r})") from None


def _body(envelope: Envelope, shape: Shape) -> dict[str, Any]:
    slots, found = envelope.slots, dict[str, Any]()
    for names, pair in zip(shape.pairs, slots, strict=False):
        found |= {name: value for name, value in zip(names, pair, strict=True) if name}
    rest = slots[len(shape.pairs) :]
    if shape.rest == "levels" and rest:
        previous, bids = rest[0]
        found |= {"previous_id": previous, "bids": rest[1 : 1 + bids], "asks": rest[1 + bids :]}
    elif shape.rest == "values":
        for field, number in (slot_value(x, y) for x, y in rest):
            found[_FIELDS.get(field, f"field_{field}")] = str(number)
    elif shape.rest == "params":
        found["params"] = {_PARAMS.get(number, str(number)): bits_float(bits) for number, bits in rest}
    elif shape.rest == "text":
        found["text"] = envelope.record[HEADER_SIZE:].rstrip(b"\0").decode("utf-8", "replace")
    elif shape.rest == "digest":
        found["sha256"] = envelope.record[HEADER_SIZE:].hex()
    if "value_bits" in found:
        found["value"] = bits_float(found.pop("value_bits"))
    return found
