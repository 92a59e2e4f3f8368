{{ stacked_candles(3600) }}
