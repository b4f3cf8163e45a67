{# No two rows have the same values in these columns. #}
{% test unique_combination(model, columns) %}

select {{ columns | join(', ') }}
from {{ model }}
where
    ({{ columns | join(', ') }}) in (
        select {{ columns | join(', ') }}
        from {{ model }}
        where {{ is_written() }}
    )
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
