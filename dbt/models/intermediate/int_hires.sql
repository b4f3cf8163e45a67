{{ config(unique_key='application_id', pre_hook="{{ join_in_bulk() }}") }}

-- From application to employee: who was hired by which application, and since when, as known over time.
with hired_events as (

    select
        event_id,
        application_id,
        employee_key,
        occurred_at,
        known_from,
        coalesce(known_to, 'infinity') as known_to
    from {{ ref('stg_ats__application_events') }}
    where stage = 'hired' and {{ is_changed('application_id', indexed=true) }}

),

candidates as (

    select distinct on (application_id)
        application_id,
        candidate_key
    from {{ ref('stg_ats__applications') }}
    where {{ is_changed('application_id', indexed=true) }}
    order by application_id, known_from

),

employments as (

    select
        employee_key,
        candidate_key,
        hired_on,
        known_from,
        coalesce(known_to, 'infinity') as known_to
    from {{ ref('int_employments') }}

),

-- By the employee that the event names; where it names none, by the candidate that the HRIS names.
links as (

    select
        hired_events.event_id,
        hired_events.known_from as event_known_from,
        employments.*
    from hired_events
    inner join employments on hired_events.employee_key = employments.employee_key

    union all

    select
        hired_events.event_id,
        hired_events.known_from as event_known_from,
        employments.*
    from hired_events
    inner join candidates on hired_events.application_id = candidates.application_id
    inner join employments on candidates.candidate_key = employments.candidate_key
    where hired_events.employee_key is null

),

-- Employments that the event can speak of: a rehire years later is another one.
employments_of_events as (

    select
        links.event_id,
        links.event_known_from,
        links.employee_key,
        links.hired_on,
        greatest(links.known_from, hired_events.known_from) as known_from,
        least(links.known_to, hired_events.known_to) as known_to
    from links
    inner join hired_events
        on
            links.event_id = hired_events.event_id
            and links.event_known_from = hired_events.known_from
            and links.known_from < hired_events.known_to
            and links.known_to > hired_events.known_from
    where
        links.hired_on - (hired_events.occurred_at at time zone 'UTC')::date
        between -{{ var('start_days_before') }} and {{ var('start_days_after') }}

),

change_points as (

    select application_id, known_from as known_at
    from hired_events

    union

    select application_id, known_to
    from hired_events

    union

    select hired_events.application_id, employments_of_events.known_from
    from employments_of_events
    inner join hired_events
        on
            employments_of_events.event_id = hired_events.event_id
            and employments_of_events.event_known_from = hired_events.known_from

    union

    select hired_events.application_id, employments_of_events.known_to
    from employments_of_events
    inner join hired_events
        on
            employments_of_events.event_id = hired_events.event_id
            and employments_of_events.event_known_from = hired_events.known_from

),

spans as (

    select
        application_id,
        known_at as known_from,
        lead(known_at, 1, 'infinity') over (partition by application_id order by known_at) as known_to
    from change_points

),

-- Of several hired events the first one counts, and of several employments the one that began first.
hires as (

    select distinct on (spans.application_id, spans.known_from)
        spans.application_id,
        hired_events.occurred_at as hired_at,
        coalesce(employments_of_events.employee_key, hired_events.employee_key) as employee_key,
        -- The offer was accepted, and the HRIS has not said when the first day is.
        coalesce(
            employments_of_events.hired_on, (hired_events.occurred_at at time zone 'UTC')::date
        ) as hired_on,
        spans.known_from,
        spans.known_to
    from spans
    inner join hired_events
        on
            spans.application_id = hired_events.application_id
            and spans.known_from >= hired_events.known_from
            and spans.known_from < hired_events.known_to
    left join employments_of_events
        on
            hired_events.event_id = employments_of_events.event_id
            and hired_events.known_from = employments_of_events.event_known_from
            and spans.known_from >= employments_of_events.known_from
            and spans.known_from < employments_of_events.known_to
    order by
        spans.application_id,
        spans.known_from,
        hired_events.occurred_at,
        hired_events.event_id,
        employments_of_events.hired_on,
        employments_of_events.employee_key

),

{{ collapse('hires', key=['application_id'], facts=['hired_at', 'employee_key', 'hired_on']) }}

select * from collapsed
