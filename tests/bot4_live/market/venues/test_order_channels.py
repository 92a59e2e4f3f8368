"""The order channels' frames as their venues document them; where each is from is in docs/venues.md."""

from __future__ import annotations

import json

import pytest

from bot4_live.events import Kind, StaleCause, header_of
from bot4_live.market.venues.coinbase_orders import CoinbaseOrdersFeed
from bot4_live.market.venues.credentials import CoinbaseKey, kraken_token
from bot4_live.market.venues.known import feed_of
from bot4_live.market.venues.kraken_orders import KrakenOrdersFeed
from bot4_live.market.venues.orders_book import Place, PriceLevel
from bot4_live.market.venues.registry import Instruments
from bot4_live.settings import Settings

# Kraken's guide to the level3 checksum: id, price, quantity; its checksum is 1063832831.
GUIDE = 1063832831
GUIDE_BIDS = """
OTCFZG-YOE2Q-LQKNM3 44939.4 0.88968699 OFGP5R-B3E7G-54EZD6 44939.4 0.45210000 OMPHVY-IZPJ4-KOKA3P 44939.4 0.10000000
OAI5QZ-AMPLW-NBNO72 44939.4 0.14296323 O7VFZI-CTFWH-FF6EIR 44939.4 0.25000000 O472V3-ZG4EZ-OLD66C 44939.4 0.10292988
OEK26P-BGPUK-LDHMD2 44939.4 0.33880000 OSMYPE-S5VOC-YSS3WM 44939.4 1.28140860 OJPMIN-NXZL5-SOWP6V 44937.1 0.03346877
O6PUGE-SQWYQ-TRJEEE 44934.7 0.35630000 OPUOGC-Q532V-3OKLPM 44930.2 0.22734299 OCIU7J-VB3CI-HPULSF 44930.2 0.01000000
ORWVAF-LJFLY-ZWEHDQ 44930.2 0.05550000 OYRAHE-PI5AN-7KOQ4E 44930.2 0.70000000 OGBHYU-UILDD-6DLLYJ 44930.2 0.15000000
O74ZBU-K2TKC-R76XSW 44928.0 0.00105240 OQVTQF-Y56MR-BM6LWL 44919.6 0.33870000 OYEH6U-ZCHA2-3HFR3W 44919.5 0.07610000
OLGPG7-HVKXU-J6SANK 44912.0 0.35630000 OHGC3L-FRZQ3-UIVZRU 44909.7 0.06690000 O73C6Y-VZXYA-H4LDFY 44901.9 0.00088982
"""
GUIDE_ASKS = """
OFVLAA-HRSSP-BK75KB 44939.5 4.52308393 OYBAMK-O5DKX-WMPUTM 44939.5 0.00111261 O3DRCT-J5M2S-KYV526 44939.5 0.00100000
OF3X3A-72WZY-6EKA5F 44939.5 0.01000000 OF5UA6-6IIZ2-YGQTSJ 44950.0 0.10334926 OSDOZX-7UZ6Y-QDNPVI 44953.0 0.00064537
OV7KTS-A2TWV-3XKRIA 44955.0 0.00250000 OOF2V5-RYOHC-GLRNPM 44959.6 0.35630000 OTVOVS-QLST3-3JG7JI 44959.6 0.35630000
OGZCIU-RDQ77-DAAL3P 44960.1 0.00338072 OVLG3E-HYBQM-CWNGCY 44960.2 0.88967575 OWEOFO-HUCJC-T37MVO 44967.0 3.14392283
OVYTHY-D2N76-5QYREQ 44978.5 0.06778960 OFO525-PHRVS-236RMN 44979.2 0.35630000
"""


def rows(text, write=lambda number: number, **more):
    words = iter(text.split())
    return "[" + ",".join(
        json.dumps({"order_id": name, **more})[:-1] + f',"limit_price":{write(price)},"order_qty":{write(qty)}}}'
        for name, price, qty in zip(words, words, words, strict=True)
    ) + "]"  # fmt: skip


def level3(what, bids, asks, checksum):
    data = f'"symbol":"BTC/USD","checksum":{checksum},"bids":{bids},"asks":{asks}'
    return ('{"channel":"level3","type":"' + what + '","data":[{' + data + "}]}").encode()


@pytest.fixture
def kraken(make_feed):
    return make_feed(KrakenOrdersFeed, {"BTC/USD": (1, 8)}, depth=10, token="secret-token")


@pytest.mark.parametrize(
    "write",
    [lambda n: n, lambda n: f'"{n}"', lambda n: str(float(n))],
    ids=["as numbers", "as text", "without zeros at the end"],
)
def test_krakens_worked_example(kraken, write):
    """The guide shows text; its reference page numbers, there without zeros at the end."""
    frame = level3("snapshot", rows(GUIDE_BIDS, write), rows(GUIDE_ASKS, write), GUIDE)
    assert feed_of([b'{"channel":"status","type":"update","data":[]}', frame]) is KrakenOrdersFeed
    (record,) = kraken.on_frame(2, frame)
    assert header_of(record)["kind"] == Kind.DEPTH_SNAPSHOT
    assert (kraken.counts.checksums, kraken.counts.checksums_matched) == (1, 1)
    orders = kraken.orders["BTC/USD"]
    assert len(orders) == 35
    assert orders.levels(-1, 2) == [PriceLevel(449395, 453519654, 4), PriceLevel(449500, 10334926, 1)]
    assert orders.place("OAI5QZ-AMPLW-NBNO72") == Place(3, 144178699, 8, 355788870)


def test_a_queue_in_another_order_is_not_the_guides(kraken, say):
    swapped = GUIDE_BIDS.replace("0.45210000", "x").replace("0.10000000", "0.45210000").replace("x", "0.10000000")
    out = kraken.on_frame(2, level3("snapshot", rows(swapped), rows(GUIDE_ASKS), GUIDE))
    assert say(out) == ["QUARANTINE BAD_CHECKSUM"]
    assert len(kraken.orders["BTC/USD"]) == 0


@pytest.mark.parametrize(
    ("event", "order"),
    [
        ("add", "OFVLAA-HRSSP-BK75KB 44939.5 1.00000000"),  # is here
        ("delete", "OXXXXX-XXXXX-XXXXXX 44939.5 1.00000000"),  # is not
        ("modify", "OXXXXX-XXXXX-XXXXXX 44939.5 1.00000000"),
        ("modify", "OTCFZG-YOE2Q-LQKNM3 44939.5 1.00000000"),  # is a bid
        ("modify", "OFVLAA-HRSSP-BK75KB 44939.5 1.00000000"),  # not what the checksum says
    ],
)
def test_an_event_that_contradicts_krakens_book(kraken, event, order, say):
    kraken.on_frame(2, level3("snapshot", rows(GUIDE_BIDS), rows(GUIDE_ASKS), GUIDE))
    out = say(kraken.on_frame(3, level3("update", "[]", rows(order, event=event), GUIDE)))
    assert out[0] == ("STALE CHECKSUM" if order.startswith("OFVLAA") and event == "modify" else "STALE GAP")
    assert len(kraken.orders["BTC/USD"]) == 0
    assert kraken.wants_resync == ["BTC/USD"]
    kraken.on_frame(4, level3("update", "[]", rows(order, event=event), GUIDE))
    assert kraken.counts.ignored == 1
    unsubscribe, subscribe = map(json.loads, kraken.resync("BTC/USD"))
    assert (unsubscribe["method"], subscribe["method"]) == ("unsubscribe", "subscribe")
    kraken.on_frame(5, level3("snapshot", rows(GUIDE_BIDS), rows(GUIDE_ASKS), GUIDE))
    assert len(kraken.orders["BTC/USD"]) == 35


def test_krakens_subscription_needs_a_token_and_an_answer_may_refuse_it(kraken, say):
    (request,) = map(json.loads, kraken.subscribe(["BTC/USD"]))
    assert request == {
        "method": "subscribe",
        "params": {
            "channel": "level3", "symbol": ["BTC/USD"], "depth": 10, "token": "secret-token", "snapshot": True,
        },
    }  # fmt: skip
    with pytest.raises(ValueError, match="BOT4_KRAKEN_WS_TOKEN"):
        KrakenOrdersFeed(Instruments("kraken")).subscribe(["BTC/USD"])
    with pytest.raises(ValueError, match="depths"):
        KrakenOrdersFeed(Instruments("kraken"), depth=25)
    answer = b'{"method":"subscribe","result":{"channel":"level3","depth":100,"symbol":"BTC/USD"},"success":true}'
    assert kraken.on_frame(2, answer) == []
    assert kraken.books["BTC/USD"].depth == 100
    refused = b'{"error":"EAPI:Invalid key","method":"subscribe","success":false}'
    assert say(kraken.on_frame(3, refused)) == ["QUARANTINE UNKNOWN_STREAM"]
    assert "EAPI" in kraken.last_refused[1]


# Coinbase's documented messages, numbered one after another.
ID = "d50ec984-77a8-460a-b958-66f114b0de9b"
MAKER = "ac928c66-ca53-498f-9c13-a110027a60e8"
MOVED = "c3f16063-77b1-408f-a743-88b7bc20cdcd"
AT = "2014-11-07T08:19:27.028459Z"
BODY = {
    "sequence": 9,
    "bids": [["400.22", "1.5", "b1"], ["7", "80", MOVED]],
    "asks": [["400.23", "12.234412", MAKER], ["400.23", "2", "a2"]],
    "auction_mode": False,
    "auction": None,
    "time": AT,
}
DOCUMENTED = [
    {"type": "received", "order_id": ID, "size": "1.34", "price": "502.1", "side": "buy", "order_type": "limit"},
    {"type": "received", "order_id": "dddec984", "funds": "3000.234", "side": "buy", "order_type": "market"},
    {"type": "open", "order_id": ID, "price": "500.2", "remaining_size": "1.00", "side": "sell"},
    {"type": "match", "trade_id": 10, "maker_order_id": MAKER, "taker_order_id": "132fb6ae", "size": "5.23512",
     "price": "400.23", "side": "sell"},
    {"type": "change", "reason": "STP", "order_id": MAKER, "side": "sell", "old_size": "6.999292",
     "new_size": "5.23512", "price": "400.23"},
    {"type": "change", "reason": "modify_order", "order_id": MOVED, "side": "buy", "old_size": "80", "new_size": "80",
     "old_price": "7", "new_price": "6"},
    {"type": "change", "order_id": "dddec984", "new_funds": "5", "old_funds": "12", "price": None, "side": "sell"},
    {"type": "done", "order_id": ID, "price": "500.2", "reason": "canceled", "side": "sell", "remaining_size": "1.00"},
    {"type": "done", "order_id": "dddec984", "reason": "filled", "side": "buy"},
]  # fmt: skip


@pytest.fixture
def coinbase(make_feed):
    return make_feed(CoinbaseOrdersFeed, {"BTC-USD": (2, 8)})


def test_coinbases_documented_messages(coinbase, say):
    coinbase.on_frame(1, b'{"type":"subscriptions","channels":[{"name":"full","product_ids":["BTC-USD"]}]}')
    assert coinbase.wants_snapshot == ["BTC-USD"]
    assert coinbase.snapshot_path("BTC-USD") == "/products/BTC-USD/book?level=3"
    out = coinbase.on_snapshot(2, "BTC-USD", json.dumps(BODY).encode())
    for number, message in enumerate(DOCUMENTED, 10):
        frame = json.dumps(message | {"product_id": "BTC-USD", "sequence": number, "time": AT}).encode()
        assert CoinbaseOrdersFeed.recognises(frame) == (message["type"] != "match")
        out += coinbase.on_frame(3, frame)
    assert say(out) == [
        "SNAPSHOT 9-9<0 150000000@40022 8000000000@700 | 1423441200@40023",
        "DIFF 12-12<9  | 100000000@50020",
        "TRADE 10 buy 523512000@40023",
        "DIFF 13-13<12  | 899929200@40023",
        "DIFF 14-14<13  | 723512000@40023",
        "DIFF 15-15<14 0@700 8000000000@600 | ",
        "DIFF 17-17<15  | 0@50020",
    ]
    assert coinbase.orders["BTC-USD"].place("a2") == Place(1, 523512000, 2, 723512000)
    activate = b'{"type":"activate","product_id":"BTC-USD","timestamp":"1483736448.299000","order_id":"x","size":"2"}'
    assert coinbase.on_frame(4, activate) == []
    assert coinbase.on_frame(4, b'{"type":"heartbeat","sequence":90,"product_id":"BTC-USD"}') == []
    assert coinbase.wants_snapshot == []
    jump = {"type": "received", "product_id": "BTC-USD", "sequence": 20, "order_id": "y", "side": "buy"}
    (stale,) = coinbase.on_frame(5, json.dumps(jump).encode())
    head = header_of(stale)
    assert (head["a"], head["b"], head["c"]) == (StaleCause.GAP, 19, 20)


def test_coinbases_arrays_are_read_by_the_schema_that_was_sent(coinbase, say):
    schema = {
        "type": "level3",
        "schema": {
            "open": ["type", "product_id", "sequence", "order_id", "side", "size", "price", "time"],
            "match": ["type", "product_id", "sequence", "maker_order_id", "taker_order_id", "price", "size", "time"],
            "done": ["type", "product_id", "sequence", "order_id", "time"],
        },
    }
    assert CoinbaseOrdersFeed.recognises(json.dumps(schema).encode())
    assert coinbase.on_frame(1, json.dumps(schema).encode()) == []
    at = "2023-03-28T23:24:03.185394Z"
    frames = [
        ["open", "BTC-USD", "10", "12aca6e0", "buy", "0.02", "268.09", at],  # sizes before prices here
        ["match", "BTC-USD", "11", "12aca6e0", "t", "268.09", "0.01", at],
        ["match", "BTC-USD", "12", "elsewhere", "t", "268.09", "0.01", at],
    ]
    out = coinbase.on_frame(2, json.dumps(frames[0]).encode())
    assert out == []
    out = coinbase.on_snapshot(2, "BTC-USD", json.dumps(BODY | {"sequence": 9}).encode())
    for frame in frames[1:]:
        assert CoinbaseOrdersFeed.recognises(json.dumps(frame).encode())
        out += coinbase.on_frame(3, json.dumps(frame).encode())
    assert say(out)[2:] == ["TRADE 0 sell 1000000@26809", "DIFF 11-11<10 1000000@26809 | ", "TICKER", "STALE GAP"]
    assert say(coinbase.on_frame(4, b'["auction","BTC-USD","13"]')) == ["QUARANTINE UNKNOWN_STREAM"]
    assert say(coinbase.on_frame(4, b'["done","BTC-USD"]')) == ["QUARANTINE MISSING_FIELD"]


def test_level_2_rows_are_no_snapshot_of_orders(coinbase, say):
    rows2 = BODY | {"bids": [["400.22", "1.5", 3]]}
    assert say(coinbase.on_snapshot(2, "BTC-USD", json.dumps(rows2).encode())) == ["QUARANTINE WRONG_TYPE"]


def test_a_feed_with_snapshots_on_the_stream_wants_none_fetched(kraken):
    assert kraken.wants_snapshot == []
    with pytest.raises(ValueError, match="on the stream"):
        kraken.snapshot_path("BTC/USD")
    with pytest.raises(ValueError, match="on the stream"):
        kraken.on_snapshot(1, "BTC/USD", b"{}")


def test_credentials_come_from_the_settings_and_show_nowhere():
    """The signature was made with OpenSSL: HMAC-SHA256 under the decoded secret."""
    values = {"coinbase_key": "key", "coinbase_secret": "c2VjcmV0", "coinbase_passphrase": "phrase"}
    key = CoinbaseKey.of(Settings(**values))
    assert key.sign("1700000000") == {
        "key": "key", "passphrase": "phrase", "timestamp": "1700000000",
        "signature": "lhmJXK08fk9SI1ZwFXKFRrPtzfbNOwC+D1xMJJ/1KZg=",
    }  # fmt: skip
    assert "c2VjcmV0" not in repr(key)
    assert "phrase" not in repr(key)
    with pytest.raises(ValueError, match="BOT4_COINBASE_SECRET"):
        CoinbaseKey.of(Settings(**values | {"coinbase_secret": ""}))
    with pytest.raises(ValueError, match="base64"):
        CoinbaseKey.of(Settings(**values | {"coinbase_secret": "not base64!"}))
    assert kraken_token(Settings(kraken_ws_token="t")) == "t"
    with pytest.raises(ValueError, match="GetWebSocketsToken"):
        kraken_token(Settings())
