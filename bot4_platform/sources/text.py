"""Text of strangers: plain, bounded, and which coins it speaks of."""

from __future__ import annotations

import html
import re
import unicodedata
from html.parser import HTMLParser

COINS = {
    "BTC": ("bitcoin", "btc", "xbt"),
    "ETH": ("ethereum", "ether", "eth"),
    "SOL": ("solana", "sol"),
    "XRP": ("ripple", "xrp"),
    "BNB": ("bnb", "binance coin"),
    "DOGE": ("dogecoin", "doge"),
    "ADA": ("cardano", "ada"),
    "USDT": ("tether", "usdt"),
    "USDC": ("usdc", "usd coin"),
}
_COIN_OF = {name: coin for coin, names in COINS.items() for name in names}
_COIN = re.compile(r"(?<![a-z0-9])[#$]?(" + "|".join(sorted(_COIN_OF, key=len, reverse=True)) + r")(?![a-z0-9])")
SPACES = re.compile(r"\s+")


class _Plain(HTMLParser):
    """Collects what is not markup; the insides of scripts and styles are none."""

    BREAKS = frozenset({"p", "br", "div", "li", "h1", "h2", "h3", "tr"})
    HIDDEN = frozenset({"script", "style"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in self.HIDDEN
        if tag in self.BREAKS:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(0, self._hidden - (tag in self.HIDDEN))

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def plain(markup: str, most: int) -> str:
    """Return HTML as one line of text, at most `most` characters; control characters go, spaces become one."""
    reader = _Plain()
    try:
        reader.feed(markup[: most * 20])
        reader.close()
        text = "".join(reader.parts)
    except (AssertionError, ValueError):  # markup that html.parser gives up on
        text = re.sub(r"<[^>]*>", " ", html.unescape(markup[: most * 20]))
    kept = (letter if unicodedata.category(letter)[0] != "C" else " " for letter in text)
    return SPACES.sub(" ", "".join(kept)).strip()[:most]


def coins(text: str) -> str:
    """Return the coins that a text names, in order of the alphabet, separated by commas; "" for none."""
    return ",".join(sorted({_COIN_OF[found] for found in _COIN.findall(text.lower())}))
