"""Which channel a frame is of, what must be answered, and what says that the venue is about to hang up."""

from __future__ import annotations

import json

import pytest

from bot4_live.market.live.pool import VENUES
from bot4_live.market.venues import dialects
from bot4_live.market.venues.capture import read_venue_capture
from bot4_live.market.venues.dialects import NO_CHANNEL

FRAMES = [
    (dialects.BinanceDialect, b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate"}}', ("depth", "btcusdt")),
    (dialects.BinanceDialect, b'{"stream":"btcusdt@markPrice@1s","data":{}}', ("markPrice", "btcusdt")),
    (dialects.BinanceDialect, b'{"result":null,"id":1}', NO_CHANNEL),
    (
        dialects.KrakenDialect,
        b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[]}]}',
        ("book", "BTC/USD"),
    ),
    (
        dialects.KrakenDialect,
        b'{"method":"subscribe","result":{"channel":"book","symbol":"BTC/USD"},"success":true}',
        NO_CHANNEL,
    ),
    (dialects.KrakenDialect, b'{"channel":"heartbeat"}', NO_CHANNEL),
    (dialects.KrakenDialect, b'{"method":"pong","time_in":"x"}', NO_CHANNEL),
    (
        dialects.KrakenOldDialect,
        b'[1664,{"b":[["1.5","2.0","1618678132.0"]],"c":"1"},"book-1000","XBT/USD"]',
        ("book", "XBT/USD"),
    ),
    (dialects.KrakenOldDialect, b'{"event":"heartbeat"}', NO_CHANNEL),
    (dialects.OkxDialect, b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update"}', ("books", "BTC-USDT")),
    (dialects.OkxDialect, b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"}}', ("liquidation-orders", "")),
    (dialects.OkxDialect, b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"}}', NO_CHANNEL),
    (dialects.OkxDialect, b"pong", NO_CHANNEL),
    (
        dialects.DeribitDialect,
        b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.ETH-30JUL21-2800-C.raw","data":{}}}',
        ("book", "ETH-30JUL21-2800-C"),
    ),
    (dialects.DeribitDialect, b'{"jsonrpc":"2.0","id":1,"result":["book.BTC-PERPETUAL.raw"]}', NO_CHANNEL),
    (
        dialects.CoinbaseDialect,
        b'{"channel":"l2_data","sequence_num":3,"events":[{"type":"update","product_id":"BTC-USD","updates":[]}]}',
        ("l2_data", "BTC-USD"),
    ),
    (dialects.CoinbaseDialect, b'{"channel":"heartbeats","sequence_num":4,"events":[]}', NO_CHANNEL),
    (dialects.CoinbaseExchangeDialect, b'{"type":"l2update","product_id":"BTC-USD"}', ("level2", "BTC-USD")),
    (dialects.CoinbaseExchangeDialect, b'{"type":"match","product_id":"BTC-USD"}', ("match", "BTC-USD")),
    (dialects.CoinbaseExchangeDialect, b'{"type":"subscriptions","channels":[]}', NO_CHANNEL),
    (
        dialects.KrakenOrdersDialect,
        b'{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD"}]}',
        ("level3", "BTC/USD"),
    ),
    (dialects.CoinbaseOrdersDialect, b'{"type":"received","product_id":"BTC-USD","sequence":7}', ("orders", "BTC-USD")),
    (dialects.CoinbaseOrdersDialect, b'["match","BTC-USD","7","M","T","1.0","2.0",""]', ("orders", "BTC-USD")),
    (dialects.CoinbaseOrdersDialect, b'{"type":"ticker","product_id":"BTC-USD","sequence":7}', ("ticker", "BTC-USD")),
    (dialects.CoinbaseOrdersDialect, b'{"type":"heartbeat","product_id":"BTC-USD","sequence":7}', NO_CHANNEL),
    (dialects.CoinbaseOrdersDialect, b'{"type":"level3","schema":{"open":["type"]}}', NO_CHANNEL),
]


@pytest.mark.parametrize(("dialect", "raw", "channel"), FRAMES)
def test_a_frame_is_of_its_channel(dialect, raw, channel):
    made = dialect()
    for _ in range(2):  # the second comes from memory
        assert made.channel(raw) == channel
    assert made.is_book(channel) == (channel[0] in ("depth", "book", "books", "l2_data", "level2", "level3", "orders"))


@pytest.mark.parametrize("dialect", sorted({venue.dialect for venue in VENUES.values()}, key=lambda d: d.__name__))
@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"[]", b"{", b'{"channel":', b'{"channel":"\xff"}', b"[" * 300])
def test_no_frame_is_too_strange(dialect, raw):
    made = dialect()
    made.channel(raw)
    assert made.answer(raw) is None
    assert made.leaving(raw) is False


@pytest.mark.capture
@pytest.mark.parametrize(
    ("file", "dialect"),
    [
        ("kraken/ws_v1_book1000.txt", dialects.KrakenOldDialect),
        ("okx/ws_v5_books.txt", dialects.OkxDialect),
        ("deribit/ws_options.txt", dialects.DeribitDialect),
        ("coinbase/ws_pro_level2.txt", dialects.CoinbaseExchangeDialect),
    ],
)
def test_the_captures_frames_are_of_the_channels_that_json_says(shared_data, file, dialect):
    made = dialect()
    for _, raw in read_venue_capture(shared_data / "captures" / file):
        frame = json.loads(raw)
        if isinstance(frame, list):
            true = "book", frame[-1]
        elif "arg" in frame and "event" not in frame:
            true = frame["arg"]["channel"], frame["arg"]["instId"]
        elif "params" in frame:
            kind, _, rest = frame["params"]["channel"].partition(".")
            true = kind, rest.rpartition(".")[0]
        elif "product_id" in frame:
            kind = frame["type"]
            true = "level2" if kind in ("snapshot", "l2update") else kind, frame["product_id"]
        else:
            true = NO_CHANNEL
        assert made.channel(raw) == true


def test_deribit_asks_for_heartbeats_and_answers_test_requests():
    made = dialects.DeribitDialect()
    (hello,) = made.hello()
    assert json.loads(hello)["method"] == "public/set_heartbeat"
    assert json.loads(hello)["params"] == {"interval": 10}
    beat = b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"%s"}}'
    assert json.loads(made.answer(beat % b"test_request"))["method"] == "public/test"
    assert made.answer(beat % b"heartbeat") is None


def test_okx_says_before_it_hangs_up():
    made = dialects.OkxDialect()
    notice = b'{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade."}'
    assert made.channel(notice) == NO_CHANNEL
    assert made.leaving(notice)
    assert not made.leaving(b'{"event":"error","code":"60012","msg":"Illegal request"}')
    assert made.ping() == b"ping"


def test_only_binance_cuts_its_connections_by_the_clock():
    lifetimes = {name: venue.dialect.limits.lifetime_s for name, venue in VENUES.items()}
    assert {name for name, seconds in lifetimes.items() if seconds == 86_400} == {
        "binance_usdm", "binance_coinm", "binance_spot",
    }  # fmt: skip
    assert set(lifetimes.values()) == {86_400, None}
