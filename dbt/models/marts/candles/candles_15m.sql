{{ stacked_candles(900) }}
