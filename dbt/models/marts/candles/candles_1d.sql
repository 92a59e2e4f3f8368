{{ stacked_candles(86400) }}
