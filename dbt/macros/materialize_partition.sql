{#- A mart. duckdb: a table in memory, which the models after it read, and the file `<DBT_OUT>/<model>.parquet`. An empty
    partition is a file without rows, of the same types. -#}
{% materialization partition, adapter='duckdb' %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {% call statement('main') %}
        create or replace table {{ target_relation }} as ({{ sql }})
    {% endcall %}
    {% call statement('file') %}
        copy (from {{ target_relation }}) to '{{ run_path("DBT_OUT") }}/{{ this.name }}.parquet'
        (format parquet, compression snappy)
    {% endcall %}
    {% do adapter.commit() %}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{#- postgres: the partition's rows of a table with `day` and `market` before the model's columns, replaced in one
    transaction. -#}
{% materialization partition, adapter='postgres' %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set rows -%}
        select cast('{{ run_day() }}' as date) as day, cast('{{ run_market() }}' as text) as market, built.*
        from ({{ sql }}) as built
    {%- endset -%}
    {% if existing is none %}
        {% call statement('main') %}
            create table {{ target_relation }} as {{ rows }};
            create index on {{ target_relation }} (market, day);
        {% endcall %}
    {% else %}
        {% call statement('main') %}
            delete from {{ target_relation }} where day = '{{ run_day() }}' and market = '{{ run_market() }}';
            insert into {{ target_relation }} {{ rows }};
        {% endcall %}
    {% endif %}
    {% do adapter.commit() %}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}
