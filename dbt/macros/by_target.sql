{#- All that differs between the targets. Integers stay integers: duckdb's sum(bigint) is a HUGEINT, which Parquet
    turns into a double; postgres' is numeric. -#}

{% macro int_sum(expression) %}cast(sum({{ expression }}) as bigint){% endmacro %}

{#- Integer division; operands are positive. -#}
{% macro int_div(a, b) %}{{ return(adapter.dispatch('int_div')(a, b)) }}{% endmacro %}
{% macro duckdb__int_div(a, b) %}({{ a }} // {{ b }}){% endmacro %}
{% macro postgres__int_div(a, b) %}({{ a }} / {{ b }}){% endmacro %}

{#- Start of the bucket a time in ns lies in. -#}
{% macro bucket(ns, width_ns) %}({{ int_div(ns, width_ns) }} * {{ width_ns }}){% endmacro %}

{#- First and last value of a group in the order given, never in order of arrival. -#}
{% macro first_by(value, order) %}{{ return(adapter.dispatch('first_by')(value, order)) }}{% endmacro %}
{% macro duckdb__first_by(value, order) %}first({{ value }} order by {{ order | join(', ') }}){% endmacro %}
{% macro postgres__first_by(value, order) %}(array_agg({{ value }} order by {{ order | join(', ') }}))[1]{% endmacro %}

{% macro last_by(value, order) %}{{ return(adapter.dispatch('last_by')(value, order)) }}{% endmacro %}
{% macro duckdb__last_by(value, order) %}last({{ value }} order by {{ order | join(', ') }}){% endmacro %}
{% macro postgres__last_by(value, order) -%}
(array_agg({{ value }} order by {{ order | join(' desc, ') }} desc))[1]
{%- endmacro %}

{#- One lake table of the partition (day, market) that this run builds. -#}
{% macro lake(table) %}{{ return(adapter.dispatch('lake')(table)) }}{% endmacro %}
{% macro duckdb__lake(table) -%}
{%- set market = env_var('DBT_MARKET', 'binance_usdm:BTCUSDT') | replace(':', '_') -%}
read_parquet(
    '{{ env_var("DBT_LAKE", ".") }}/{{ table }}/day={{ env_var("DBT_DAY", "2024-08-08") }}/market={{ market }}/part*.parquet',
    hive_partitioning = false, union_by_name = true
)
{%- endmacro %}
{% macro postgres__lake(table) -%}
(
    select * from {{ source('lake', table) }}
    where market = '{{ env_var("DBT_MARKET", "binance_usdm:BTCUSDT") }}' and day = '{{ env_var("DBT_DAY", "2024-08-08") }}'
)
{%- endmacro %}
