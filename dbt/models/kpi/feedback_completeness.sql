{{ config(pre_hook="{{ forget_all() }}") }}

with milestones as (

    select
        use_case,
        milestone_months,
        date_trunc('month', due_on::timestamp)::date as due_month,
        status
    from {{ ref('fct_outcome_milestones') }}

),

counted as (

    select
        use_case,
        milestone_months,
        due_month,
        count(*)::integer as selected,
        (count(*) filter (where status = 'observed'))::integer as observed,
        (count(*) filter (where status = 'missing'))::integer as missing,
        (count(*) filter (where status = 'pending'))::integer as pending,
        (count(*) filter (where status = 'censored'))::integer as censored
    from milestones
    group by use_case, milestone_months, due_month

)

select
    counted.*,
    observed::double precision / nullif(observed + missing, 0) as completeness
from counted
