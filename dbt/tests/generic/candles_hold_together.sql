{#- low <= open, close <= high; VWAP within; volume positive; buckets whole. -#}
{% test candles_hold_together(model, time_column, seconds) %}
select *
from {{ model }}
where low > open or low > close or high < open or high < close
   or volume <= 0 or trades <= 0 or volume <> vwap_den
   or {{ wide('vwap_num') }} < {{ wide('low') }} * {{ wide('vwap_den') }}
   or {{ wide('vwap_num') }} > {{ wide('high') }} * {{ wide('vwap_den') }}
   or {{ time_column }} % {{ seconds }}000000000 <> 0
{% endtest %}
