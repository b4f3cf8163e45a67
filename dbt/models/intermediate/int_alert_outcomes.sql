{{ config(materialized='table', pre_hook="{{ join_in_bulk() }}") }}
{%- set positive_action = declared('attrition', 'positive_action', 'text') %}
{%- set entered_days = declared('attrition', 'resignation_grace_days', 'integer') %}
{%- set label_milestone = declared('attrition', 'label_milestone', 'integer') %}

-- What became of everybody that the loop looked at, warned of or not, and whatever was done: resignations
-- before the label milestone, as they stand. A draw may have withheld an alert from a case inside the cut and
-- given it to one outside.
with decisions as (

    select
        decision_id,
        use_case,
        case_key,
        subject_key as employee_key,
        (decided_at at time zone 'UTC')::date as decided_on,
        case
            when recommended_action = {{ positive_action }} and exploration then 'pushed up'
            when recommended_action = {{ positive_action }} then 'alerted'
            when exploration then 'held out'
            else 'not alerted'
        end as arm,
        -- A case that no draw could have turned over has a propensity of 0 or 1.
        selection_propensity > 0 and selection_propensity < 1 as is_randomised
    from {{ ref('int_decisions') }}
    where use_case = 'attrition' and origin = 'loop'

),

due as (

    select
        decisions.*,
        employee_months.month,
        (decisions.decided_on + make_interval(months => {{ label_milestone }}))::date as due_on
    from decisions
    inner join {{ ref('int_employee_months') }} as employee_months
        on decisions.case_key = employee_months.employee_month_id

),

terminations as (

    select * from {{ ref('stg_hris__terminations') }}
    where known_to is null

),

interventions as (

    select * from {{ ref('stg_hris__interventions') }}
    where known_to is null

),

-- What was done in the month after the decision, before the next one.
first_measures as (

    select distinct on (due.decision_id)
        due.decision_id,
        interventions.kind
    from due
    inner join interventions
        on
            due.employee_key = interventions.employee_key
            and due.decided_on <= interventions.started_on
            and interventions.started_on < due.decided_on + interval '1 month'
    order by due.decision_id, interventions.started_on, interventions.intervention_id

)

select
    due.decision_id,
    due.use_case,
    due.employee_key,
    due.decided_on,
    due.due_on,
    due.arm,
    due.is_randomised,
    first_measures.kind as measure,
    terminations.terminated_on as left_on,
    -- Who left otherwise, or had left already, cannot tell whether they would have resigned.
    (due.due_on + {{ entered_days }})::timestamp at time zone 'UTC' <= {{ as_of() }}
    and (
        terminations.terminated_on is null
        or (terminations.kind = 'voluntary' and terminations.terminated_on > due.decided_on)
    ) as is_matured,
    coalesce(terminations.kind = 'voluntary', false) as resigned
from due
left join terminations
    on
        due.employee_key = terminations.employee_key
        and due.month <= terminations.terminated_on
        and due.due_on > terminations.terminated_on
left join first_measures on due.decision_id = first_measures.decision_id
