{# Within each use case, or whatever else `within` names, and in each group of `per` the figure `parts` is the
   number of rows of `whole` for which `whole_where` holds; where whole has any, there is a group. #}
{% test adds_up(model, parts, whole, whole_where, within, per) %}

with whole as (

    select
        {{ within }},
        count(*) as rows_of_whole
    from {{ whole }}
    where {{ whole_where }}
    group by {{ within }}

),

parts as (

    select
        {{ within }},
        {{ per }},
        {{ parts }} as rows_of_parts
    from {{ model }}
    group by {{ within }}, {{ per }}

)

select *
from whole
left join parts using ({{ within }})
where coalesce(parts.rows_of_parts, 0) <> whole.rows_of_whole

{% endtest %}
