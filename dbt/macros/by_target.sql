{#- All that differs between the targets. Integers stay integers: duckdb's sum(bigint) is a HUGEINT, which Parquet
    turns into a double; postgres' is numeric. A sum or product that a bigint does not hold is an error in both. -#}

{% macro int_sum(expression) %}cast(sum({{ expression }}) as bigint){% endmacro %}

{#- An integer of more than 64 bits, for comparisons that must not overflow. -#}
{% macro wide(expression) %}{{ return(adapter.dispatch('wide')(expression)) }}{% endmacro %}
{% macro duckdb__wide(expression) %}cast({{ expression }} as hugeint){% endmacro %}
{% macro postgres__wide(expression) %}cast({{ expression }} as numeric){% endmacro %}

{#- Integer division; operands are positive. -#}
{% macro int_div(a, b) %}{{ return(adapter.dispatch('int_div')(a, b)) }}{% endmacro %}
{% macro duckdb__int_div(a, b) %}({{ a }} // {{ b }}){% endmacro %}
{% macro postgres__int_div(a, b) %}({{ a }} / {{ b }}){% endmacro %}

{#- Start of the bucket a time in ns lies in. -#}
{% macro bucket(ns, seconds) %}({{ int_div(ns, seconds ~ '000000000') }} * {{ seconds }}000000000){% endmacro %}

{#- First and last value of a group in the order given (one or two integer columns), never in order of arrival. duckdb:
    two columns as one number of 128 bits, twice as fast as an ordered aggregate. Neither minds a null value's order. -#}
{% macro first_by(value, order) %}{{ return(adapter.dispatch('first_by')(value, order)) }}{% endmacro %}
{% macro duckdb__first_by(value, order) %}arg_min({{ value }}, {{ ordinal(order) }}){% endmacro %}
{% macro postgres__first_by(value, order) -%}
(array_agg({{ value }} order by {{ order | join(', ') }}) filter (where {{ value }} is not null))[1]
{%- endmacro %}

{% macro last_by(value, order) %}{{ return(adapter.dispatch('last_by')(value, order)) }}{% endmacro %}
{% macro duckdb__last_by(value, order) %}arg_max({{ value }}, {{ ordinal(order) }}){% endmacro %}
{% macro postgres__last_by(value, order) -%}
(array_agg({{ value }} order by {{ order | join(' desc, ') }} desc) filter (where {{ value }} is not null))[1]
{%- endmacro %}

{% macro ordinal(order) -%}
{%- if order | length == 1 -%}{{ order[0] }}
{%- else -%}cast({{ order[0] }} as hugeint) * 18446744073709551616 + {{ order[1] }}{%- endif -%}
{%- endmacro %}

{#- The smallest value that at least this share of the rows does not exceed: a value that is there, no mean of two. -#}
{% macro quantile(value, share) %}percentile_disc({{ share }}) within group (order by {{ value }}){% endmacro %}
