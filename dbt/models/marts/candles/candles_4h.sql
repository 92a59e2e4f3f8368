{{ stacked_candles(14400) }}
