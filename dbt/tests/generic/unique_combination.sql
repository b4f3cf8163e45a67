{# No two rows have the same values in these columns. #}
{% test unique_combination(model, columns) %}

select {{ columns | join(', ') }}
from {{ model }}
where {{ has_written(model, columns) }}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
