{#- No row has a null in `columns` or `key`, and no two rows have the same `key`. Returns the rows that do. -#}
{% test whole(model, key, columns=[]) %}
select {{ key | join(', ') }}, 1 as times
from {{ model }}
where {% for column in key + columns %}{{ column }} is null{% if not loop.last %} or {% endif %}{% endfor %}
union all
select {{ key | join(', ') }}, count(*) as times
from {{ model }}
group by {{ key | join(', ') }}
having count(*) > 1
{% endtest %}
