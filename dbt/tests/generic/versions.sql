{# The versions of a key are intervals of time: the key is there, none is empty, none overlaps the next,
   and one at most stands. `stay`: earlier versions of a key may stay when later ones are written. #}
{% test versions(model, key, stay=false) %}

with versions as (

    select
        {{ key | join(', ') }},
        known_from,
        coalesce(known_to, 'infinity') as known_to,
        lead(known_from) over (partition by {{ key | join(', ') }} order by known_from) as next_from
    from {{ model }}
    where {{ has_written(model, key) if stay else is_written() }}

)

select *
from versions
where
    known_from is null
    or known_from >= known_to
    or known_to > next_from
    or num_nulls({{ key | join(', ') }}) > 0

{% endtest %}
