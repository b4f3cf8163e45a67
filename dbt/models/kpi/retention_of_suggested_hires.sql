{{ config(pre_hook="{{ forget_all() }}") }}

{%- set positive_action = declared('recruitment', 'positive_action', 'text') %}
with milestones as (

    select
        use_case,
        milestone_months,
        case
            when origin = 'history' then 'before the loop'
            when recommended_action = {{ positive_action }} then 'suggested'
            else 'not suggested'
        end as suggestion,
        status,
        retained,
        value
    from {{ ref('fct_outcome_milestones') }}
    where use_case = 'recruitment' and retained is not null

)

select
    use_case,
    milestone_months,
    suggestion,
    (count(*) filter (where status <> 'censored'))::integer as hires,
    (count(*) filter (where status <> 'censored' and retained))::integer as retained,
    (count(*) filter (where retained))::double precision
    / nullif(count(*) filter (where status <> 'censored'), 0) as retention,
    (count(*) filter (where status = 'observed'))::integer as observed,
    (count(*) filter (where value = 1))::integer as good_hires,
    (count(*) filter (where status = 'censored'))::integer as censored
from milestones
group by use_case, milestone_months, suggestion
