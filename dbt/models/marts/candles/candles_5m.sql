{{ stacked_candles(300) }}
