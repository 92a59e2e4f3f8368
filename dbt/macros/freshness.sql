{#- How old a source's data is: its newest event against now, or against the end of the run's day once that is over. -#}

{% macro newest_event(table) -%}
select {{ at_ns('max(exch_ns)') }} from {{ lake(table) }} as events
{%- endmacro %}

{#- A time in ns as the target's timestamp in UTC; what is finer than a microsecond is cut off. -#}
{% macro at_ns(ns) %}{{ return(adapter.dispatch('at_ns')(ns)) }}{% endmacro %}
{% macro duckdb__at_ns(ns) %}make_timestamp({{ int_div(ns, 1000) }}){% endmacro %}
{% macro postgres__at_ns(ns) -%}
(timestamp '1970-01-01' + {{ int_div(ns, 1000) }} * interval '1 microsecond')
{%- endmacro %}

{% macro default__collect_freshness_custom_sql(source, loaded_at_query) %}
    {% call statement('collect_freshness_custom_sql', fetch_result=True, auto_begin=False) -%}
        with source_query as (
            {{ loaded_at_query }}
        )
        select
            (select * from source_query) as max_loaded_at,
            least(
                cast({{ current_timestamp() }} at time zone 'UTC' as timestamp),
                cast('{{ run_day() }}' as timestamp) + interval '1 day'
            ) as snapshotted_at
    {% endcall %}
    {{ return(load_result('collect_freshness_custom_sql')) }}
{% endmacro %}
