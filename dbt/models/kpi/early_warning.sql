{{ config(pre_hook="{{ forget_all() }}") }}

{%- set early_months = declared('attrition', 'early_warning_months', 'integer') %}
with exits as (

    select
        employee_key,
        terminated_on,
        date_trunc('month', terminated_on::timestamp)::date as exit_month,
        terminated_on - make_interval(months => {{ early_months }}) as early_until
    from {{ ref('stg_hris__terminations') }}
    where known_to is null and kind = 'voluntary' and 'attrition' = any({{ declared_use_cases() }})

),

decisions as (

    select
        subject_key as employee_key,
        (decided_at at time zone 'UTC')::date as decided_on,
        recommended_action = {{ declared('attrition', 'positive_action', 'text') }} as is_warning
    from {{ ref('int_decisions') }}
    where use_case = 'attrition' and origin = 'loop'

),

-- Of an exit counts what the loop said in the twelve months before it.
looked_at as (

    select
        exits.employee_key,
        exits.terminated_on,
        exits.exit_month,
        exits.early_until,
        min(decisions.decided_on) as first_seen_on,
        min(decisions.decided_on) filter (where decisions.is_warning) as first_warned_on
    from exits
    left join decisions
        on
            exits.employee_key = decisions.employee_key
            and exits.terminated_on >= decisions.decided_on
            and exits.terminated_on < decisions.decided_on + interval '12 months'
    group by exits.employee_key, exits.terminated_on, exits.exit_month, exits.early_until

),

counted as (

    select
        exit_month,
        count(*)::integer as resignations,
        (count(first_seen_on))::integer as watched,
        (count(first_warned_on))::integer as warned,
        (count(*) filter (where first_seen_on <= early_until))::integer as watched_early,
        (count(*) filter (where first_warned_on <= early_until))::integer as warned_early,
        percentile_cont(0.5) within group (order by terminated_on - first_warned_on) as median_days_ahead
    from looked_at
    group by exit_month

)

select
    'attrition' as use_case,
    counted.*,
    warned::double precision / nullif(watched, 0) as warned_share,
    warned_early::double precision / nullif(watched_early, 0) as warned_early_share
from counted
