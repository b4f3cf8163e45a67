{{ config(unique_key='case_key', pre_hook=["{{ forget_changed('case_key') }}", "{{ join_in_bulk() }}"]) }}
{%- set grace_days = declared('attrition', 'resignation_grace_days', 'integer') %}
{%- set positive_action = declared('attrition', 'positive_action', 'text') %}

-- Who resigned when nothing was done, by each milestone, as it was known over time. Where the loop warned,
-- the outcome without a warning can never be seen: such a decision is not here.
--
-- Ends are entered late. Nothing is judged before the milestone and the time to enter an end are over; after
-- that a status changes only when somebody learns something.
with decisions as (

    select
        decision_id,
        use_case,
        case_key,
        subject_key as employee_key,
        (decided_at at time zone 'UTC')::date as starts_on,
        known_at
    from {{ ref('int_decisions') }}
    where
        use_case = 'attrition'
        and (origin = 'history' or recommended_action <> {{ positive_action }})

),

due_dates as (

    select
        decisions.*,
        employee_months.month,
        milestones.milestone_months,
        (decisions.starts_on + make_interval(months => milestones.milestone_months))::date as due_on
    from decisions
    inner join {{ ref('int_employee_months') }} as employee_months
        on decisions.case_key = employee_months.employee_month_id
    cross join unnest({{ declared('attrition', 'milestones', 'integer[]') }}) as milestones (milestone_months)

),

every_due as (

    select
        due_dates.*,
        greatest(known_at, (due_on + {{ grace_days }})::timestamp at time zone 'UTC') as judged_from
    from due_dates

),

due as (

    select * from every_due
    where
        {{ is_changed('case_key') }}
        or case_key in (
            select coming.case_key
            from every_due as coming
            where {{ is_new('coming.judged_from') }}
        )
        or {{ is_named_anew(ref('stg_hris__terminations'), 'employee_key', 'employee_key') }}
        or {{ is_named_anew(ref('stg_hris__interventions'), 'intervention_id', 'employee_key') }}

),

-- What ended the time in which a resignation without any measure could be seen. An end before the month was
-- that of an earlier employment; one before the decision was not known when it was taken.
ends as (

    select
        due.decision_id,
        due.milestone_months,
        greatest(terminations.terminated_on, due.starts_on) as ended_on,
        case
            when terminations.terminated_on <= due.starts_on then 'gone before'
            else coalesce(terminations.kind, 'unknown')
        end as kind,
        true as is_departure,
        greatest(terminations.known_from, due.judged_from) as known_from,
        coalesce(terminations.known_to, 'infinity') as known_to
    from due
    inner join {{ ref('stg_hris__terminations') }} as terminations
        on
            due.employee_key = terminations.employee_key
            and due.month <= terminations.terminated_on
            and due.due_on > terminations.terminated_on
            and due.judged_from < coalesce(terminations.known_to, 'infinity')
    where due.judged_from <= {{ as_of() }}

    union all

    select
        due.decision_id,
        due.milestone_months,
        interventions.started_on as ended_on,
        'intervention' as kind,
        false as is_departure,
        greatest(interventions.known_from, due.judged_from) as known_from,
        coalesce(interventions.known_to, 'infinity') as known_to
    from due
    inner join {{ ref('stg_hris__interventions') }} as interventions
        on
            due.employee_key = interventions.employee_key
            and due.starts_on <= interventions.started_on
            and due.due_on > interventions.started_on
            and due.judged_from < coalesce(interventions.known_to, 'infinity')
    where due.judged_from <= {{ as_of() }}

),

change_points as (

    select decision_id, milestone_months, judged_from as known_at
    from due
    where judged_from <= {{ as_of() }}

    union

    select decision_id, milestone_months, known_from
    from ends

    union

    select decision_id, milestone_months, known_to
    from ends
    where known_to < 'infinity'

),

spans as (

    select
        decision_id,
        milestone_months,
        known_at as known_from,
        lead(known_at, 1, 'infinity') over (
            partition by decision_id, milestone_months order by known_at
        ) as known_to
    from change_points

),

-- The first end counts; of two on one day the departure, which no measure of that day could hold up.
facts as (

    select
        spans.decision_id,
        spans.milestone_months,
        spans.known_from,
        spans.known_to,
        min(ends.ended_on) as ended_on,
        (array_agg(ends.kind order by ends.ended_on asc, ends.is_departure desc))[1] as kind,
        bool_or(ends.is_departure) is not true as retained
    from spans
    left join ends
        on
            spans.decision_id = ends.decision_id
            and spans.milestone_months = ends.milestone_months
            and spans.known_from >= ends.known_from
            and spans.known_from < ends.known_to
    group by spans.decision_id, spans.milestone_months, spans.known_from, spans.known_to

),

judged as (

    select
        facts.*,
        case
            when kind is null or kind = 'voluntary' then 'observed'
            when kind = 'unknown' then 'missing'
            else 'censored'
        end as status,
        case when kind is null then 0 when kind = 'voluntary' then 1 end::double precision as value
    from facts

),

{{ collapse(
    'judged',
    key=['decision_id', 'milestone_months'],
    facts=['ended_on', 'status', 'value', 'retained'],
) }}

select
    due.decision_id,
    due.use_case,
    due.case_key,
    due.milestone_months,
    due.starts_on,
    collapsed.ended_on,
    due.due_on,
    collapsed.status,
    collapsed.value,
    collapsed.retained,
    null::double precision as rating,
    collapsed.known_from,
    collapsed.known_to
from collapsed
inner join due
    on
        collapsed.decision_id = due.decision_id
        and collapsed.milestone_months = due.milestone_months

union all

select
    decision_id,
    use_case,
    case_key,
    milestone_months,
    starts_on,
    null as ended_on,
    due_on,
    'pending' as status,
    null as value,
    null as retained,
    null as rating,
    known_at as known_from,
    case when judged_from <= {{ as_of() }} then judged_from end as known_to
from due
where known_at < judged_from
