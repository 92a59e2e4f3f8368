"""Exchange history by ccxt: candles, trades and funding of any venue it knows, in ticks and lots. docs/sources.md."""
