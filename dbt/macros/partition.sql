{#- A run builds one partition, (day, market). What it is comes by the environment, and is asked for only when SQL is
    about to run: dbt parses a file anew when a variable that its parsing asked for has changed. -#}

{% macro run_of(name, otherwise) -%}
{{ return(env_var(name, otherwise) if execute else otherwise) }}
{%- endmacro %}
{#- A folder of the run within a literal of SQL. -#}
{% macro run_path(name) %}{{ return(run_of(name, ".") | replace("'", "''")) }}{% endmacro %}
{% macro run_day() %}{{ return(run_of('DBT_DAY', '2024-08-08')) }}{% endmacro %}
{% macro run_market() %}{{ return(run_of('DBT_MARKET', 'binance_usdm:BTCUSDT')) }}{% endmacro %}

{#- One lake table of the run's partition. -#}
{% macro lake(table) %}{{ return(adapter.dispatch('lake')(table)) }}{% endmacro %}
{% macro duckdb__lake(table) %}{{ lake_file(table, run_market()) }}{% endmacro %}
{% macro postgres__lake(table) -%}
{%- if table == 'trades' -%}
{#- The hypertable has the ticks of all markets by exchange time. -#}
(
    select seq, recv_ns, exch_ns, trade_id, price, qty, sell from market.market_ticks
    where exchange = '{{ run_market().split(":")[0] }}' and symbol = '{{ run_market().split(":")[1] }}'
      and exch_ns >= {{ day_ns() }} and exch_ns < {{ day_ns() }} + 86400000000000
)
{%- else -%}
(select * from {{ source('lake', table) }} where day = '{{ run_day() }}' and market = '{{ run_market() }}')
{%- endif -%}
{%- endmacro %}

{#- The same table of several markets on the run's day (DBT_MARKETS, separated by commas), with the market of a row. -#}
{% macro lake_of_markets(table) %}{{ return(adapter.dispatch('lake_of_markets')(table)) }}{% endmacro %}
{% macro duckdb__lake_of_markets(table) -%}
(
    {%- for market in run_of('DBT_MARKETS', 'binance_usdm:BTCUSDT').split(',') %}
    select '{{ market }}' as market, * from {{ lake_file(table, market) }}
    {%- if not loop.last %} union all {% endif %}
    {%- endfor %}
)
{%- endmacro %}
{% macro postgres__lake_of_markets(table) -%}
(
    select * from {{ source('lake', table) }}
    where day = '{{ run_day() }}' and market in ('{{ run_of("DBT_MARKETS", "").split(",") | join("', '") }}')
)
{%- endmacro %}

{% macro lake_file(table, market) -%}
read_parquet(
    '{{ run_path("DBT_LAKE") }}/{{ table }}/day={{ run_day() }}/market={{ market | replace(":", "_") }}/part*.parquet',
    hive_partitioning = false, union_by_name = true
)
{%- endmacro %}

{% macro day_ns() -%}
(cast('{{ run_day() }}' as date) - cast('1970-01-01' as date)) * cast(86400000000000 as bigint)
{%- endmacro %}

{#- The run's rows of a mart: in duckdb the table has no others, in postgres it has every partition that was built. -#}
{% macro part(relation) %}{{ return(adapter.dispatch('part')(relation)) }}{% endmacro %}
{% macro duckdb__part(relation) %}{{ relation }}{% endmacro %}
{% macro postgres__part(relation) -%}
{%- if 'marts' in (relation | string) -%}
(select * from {{ relation }} where day = '{{ run_day() }}' and market = '{{ run_market() }}')
{%- else -%}
{{ relation }}
{%- endif -%}
{%- endmacro %}

{#- Tests look at the run's rows only. -#}
{% macro postgres__get_where_subquery(relation) %}{{ return(part(relation) ~ ' as this_partition') }}{% endmacro %}
