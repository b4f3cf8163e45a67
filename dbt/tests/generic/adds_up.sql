{# In each group of `per` the figure `parts` is the number of rows of `whole` for which `whole_where` holds;
   where whole has any, there is a group. #}
{% test adds_up(model, parts, whole, whole_where, per) %}

with whole as (

    select count(*) as rows_of_whole
    from {{ whole }}
    where {{ whole_where }}

),

parts as (

    select
        {{ per }},
        {{ parts }} as rows_of_parts
    from {{ model }}
    group by {{ per }}

)

select *
from whole
left join parts on true
where coalesce(parts.rows_of_parts, 0) <> whole.rows_of_whole

{% endtest %}
