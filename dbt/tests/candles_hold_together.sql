-- low <= open, close <= high; volume positive; the minutes are whole.
select *
from {{ ref('candles_1m') }}
where low > open or low > close or high < open or high < close
   or volume <= 0 or vwap_num < low * vwap_den or vwap_num > high * vwap_den
   or minute_ns % 60000000000 <> 0
