{{ config(
    unique_key=['case_key', 'milestone_months', 'known_from'],
    pre_hook=["{{ forget_changed('case_key') }}", "{{ join_in_bulk() }}"],
) }}
{%- set report_grace_days = declared('recruitment', 'report_grace_days', 'integer') %}

-- What became of each hire, at each milestone, as it was known over time.
--
-- A status changes when the milestone comes, when the time to report is over, or when somebody learns
-- something: these are the change points. Between two of them nothing changes.
with milestones as (

    select
        milestone_months,
        lag(milestone_months, 1, 0) over (order by milestone_months) as previous_months
    from unnest({{ declared('recruitment', 'milestones', 'integer[]') }}) as listed (milestone_months)

),

hire_versions as (

    select
        application_id as case_key,
        employee_key,
        hired_on,
        known_from as hire_known_from,
        coalesce(known_to, 'infinity') as hire_known_to
    from {{ ref('int_hires') }}

),

first_days as (

    select distinct hired_on
    from hire_versions

),

due_dates as (

    select
        first_days.hired_on,
        milestones.milestone_months,
        (first_days.hired_on + make_interval(months => milestones.previous_months))::date as previous_due_on,
        (first_days.hired_on + make_interval(months => milestones.milestone_months))::date as due_on
    from first_days
    cross join milestones

),

dates as (

    select
        due_dates.*,
        due_on + {{ report_grace_days }} as report_by,
        due_on::timestamp at time zone 'UTC' as due_at,
        (due_on + {{ report_grace_days }})::timestamp at time zone 'UTC' as report_by_at
    from due_dates

),

{% if is_incremental() or not execute %}
    new_reviews as (

        select
            employee_key,
            period_end
        from {{ ref('stg_hris__reviews') }}
        where {{ has_new_version(ref('stg_hris__reviews'), 'review_id') }}

    ),

    -- The milestone that a review speaks for follows from two days, as below in `reviews`.
    newly_reviewed as (

        select distinct on (hire_versions.case_key, hire_versions.hired_on, new_reviews.period_end)
            hire_versions.case_key,
            dates.milestone_months
        from hire_versions
        inner join dates on hire_versions.hired_on = dates.hired_on
        inner join new_reviews
            on
                hire_versions.employee_key = new_reviews.employee_key
                and dates.previous_due_on < new_reviews.period_end
                and dates.report_by >= new_reviews.period_end
        order by
            hire_versions.case_key,
            hire_versions.hired_on,
            new_reviews.period_end,
            abs(new_reviews.period_end - dates.due_on),
            dates.milestone_months

    ),

    -- The milestones that something new is said of, and from when on. All of a changed case are said anew,
    -- which has nothing here any more; of others, those of somebody who left, those that came, or are still
    -- pending when the time to report is over, and those that a new review speaks for. What was said of them
    -- before the version that stands is left as it is.
    renewed as (

        select
            hire_versions.case_key,
            milestones.milestone_months,
            '-infinity'::timestamptz as said_from
        from hire_versions
        cross join milestones
        where {{ is_changed('hire_versions.case_key') }}

        union

        select
            case_key,
            milestone_months,
            known_from as said_from
        from {{ this }}
        where
            known_to is null
            and (
                {{ is_new_day('due_on') }}
                or (status = 'pending' and {{ is_new_day('due_on + ' ~ report_grace_days) }})
                or (case_key, milestone_months) in (
                    select
                        newly_reviewed.case_key,
                        newly_reviewed.milestone_months
                    from newly_reviewed
                )
                or case_key in (
                    select hire_versions.case_key
                    from hire_versions
                    where
                        {{ is_named_anew(
                            ref('stg_hris__terminations'), 'employee_key', 'hire_versions.employee_key'
                        ) }}
                )
            )

    ),
{%- endif %}

decisions as (

    select
        decision_id,
        use_case,
        case_key
    from {{ ref('int_decisions') }}
    where
        use_case = 'recruitment'
        and {{ is_any_of('case_key', 'select renewed.case_key from renewed') }}

),

-- Materialised, so that the decisions of cases are looked up before each is repeated for its milestones.
hires as materialized (

    select
        decisions.decision_id,
        decisions.use_case,
        hire_versions.*
    from hire_versions
    inner join decisions on hire_versions.case_key = decisions.case_key

),

due as (

    select
        hires.decision_id,
        hires.use_case,
        hires.case_key,
        hires.employee_key,
        hires.hired_on,
        hires.hire_known_to,
        dates.milestone_months,
        dates.due_on,
        dates.due_at,
        dates.report_by_at,
        {% if is_incremental() %}
            greatest(hires.hire_known_from, renewed.said_from) as hire_known_from
        {% else %}
            hires.hire_known_from
        {% endif %}
    from hires
    inner join dates on hires.hired_on = dates.hired_on
    {%- if is_incremental() %}
        inner join renewed
            on
                hires.case_key = renewed.case_key
                and dates.milestone_months = renewed.milestone_months
                and hires.hire_known_to > renewed.said_from
    {%- endif %}

),

first_days_of_hires as (

    select distinct
        employee_key,
        hired_on
    from hires

),

-- A review speaks for one milestone: the nearest one whose period it ends in.
spoken_for as (

    select distinct on (
        first_days_of_hires.employee_key,
        first_days_of_hires.hired_on,
        reviews.review_id,
        reviews.known_from
    )
        first_days_of_hires.employee_key,
        first_days_of_hires.hired_on,
        dates.milestone_months,
        reviews.review_id,
        reviews.rating,
        reviews.period_end,
        abs(reviews.period_end - dates.due_on) as days_off,
        reviews.known_from,
        coalesce(reviews.known_to, 'infinity') as known_to
    from first_days_of_hires
    inner join dates on first_days_of_hires.hired_on = dates.hired_on
    inner join {{ ref('stg_hris__reviews') }} as reviews
        on
            first_days_of_hires.employee_key = reviews.employee_key
            and dates.previous_due_on < reviews.period_end
            and dates.report_by >= reviews.period_end
    where reviews.rating is not null
    order by
        first_days_of_hires.employee_key,
        first_days_of_hires.hired_on,
        reviews.review_id,
        reviews.known_from,
        abs(reviews.period_end - dates.due_on),
        dates.milestone_months

),

reviews as (

    select
        due.decision_id,
        due.milestone_months,
        due.hire_known_from,
        spoken_for.review_id,
        spoken_for.rating,
        spoken_for.period_end,
        spoken_for.days_off,
        greatest(spoken_for.known_from, due.hire_known_from) as known_from,
        least(spoken_for.known_to, due.hire_known_to) as known_to
    from due
    inner join spoken_for
        on
            due.employee_key = spoken_for.employee_key
            and due.hired_on = spoken_for.hired_on
            and due.milestone_months = spoken_for.milestone_months
            and due.hire_known_to > spoken_for.known_from
            and due.hire_known_from < spoken_for.known_to

),

departures as (

    select
        due.decision_id,
        due.milestone_months,
        due.hire_known_from,
        coalesce(terminations.kind, 'unknown') as kind,
        terminations.terminated_on,
        greatest(terminations.known_from, due.hire_known_from) as known_from,
        least(coalesce(terminations.known_to, 'infinity'), due.hire_known_to) as known_to
    from due
    inner join {{ ref('stg_hris__terminations') }} as terminations
        on
            due.employee_key = terminations.employee_key
            and due.hired_on <= terminations.terminated_on
            and due.due_on > terminations.terminated_on
            and due.hire_known_to > terminations.known_from
            and due.hire_known_from < coalesce(terminations.known_to, 'infinity')

),

change_points as (

    select decision_id, milestone_months, hire_known_from, hire_known_from as known_at
    from due

    union

    select decision_id, milestone_months, hire_known_from, due_at
    from due
    where due_at > hire_known_from and due_at < hire_known_to and due_at <= {{ as_of() }}

    union

    select decision_id, milestone_months, hire_known_from, report_by_at
    from due
    where
        report_by_at > hire_known_from
        and report_by_at < hire_known_to
        and report_by_at <= {{ as_of() }}

    union

    select decision_id, milestone_months, hire_known_from, known_from
    from reviews

    union

    select decision_id, milestone_months, hire_known_from, known_to
    from reviews

    union

    select decision_id, milestone_months, hire_known_from, known_from
    from departures

    union

    select decision_id, milestone_months, hire_known_from, known_to
    from departures

),

spans as (

    select
        change_points.decision_id,
        change_points.milestone_months,
        change_points.hire_known_from,
        change_points.known_at as known_from,
        lead(change_points.known_at) over (
            partition by
                change_points.decision_id, change_points.milestone_months, change_points.hire_known_from
            order by change_points.known_at
        ) as known_to
    from change_points

),

-- Of several reviews the one nearest to the milestone counts, and of two equally near the later.
facts as (

    select distinct on (spans.decision_id, spans.milestone_months, spans.hire_known_from, spans.known_from)
        due.decision_id,
        due.use_case,
        due.case_key,
        due.milestone_months,
        due.hired_on,
        due.due_on,
        due.employee_key,
        spans.known_from,
        coalesce(spans.known_to, due.hire_known_to) as known_to,
        spans.known_from >= due.due_at as is_due,
        spans.known_from >= due.report_by_at as is_overdue,
        departures.kind as departure,
        departures.terminated_on,
        reviews.rating
    from spans
    inner join due
        on
            spans.decision_id = due.decision_id
            and spans.milestone_months = due.milestone_months
            and spans.hire_known_from = due.hire_known_from
            and spans.known_from < due.hire_known_to
    left join departures
        on
            spans.decision_id = departures.decision_id
            and spans.milestone_months = departures.milestone_months
            and spans.hire_known_from = departures.hire_known_from
            and spans.known_from >= departures.known_from
            and spans.known_from < departures.known_to
    left join reviews
        on
            spans.decision_id = reviews.decision_id
            and spans.milestone_months = reviews.milestone_months
            and spans.hire_known_from = reviews.hire_known_from
            and spans.known_from >= reviews.known_from
            and spans.known_from < reviews.known_to
    order by
        spans.decision_id asc,
        spans.milestone_months asc,
        spans.hire_known_from asc,
        spans.known_from asc,
        reviews.days_off asc,
        reviews.period_end desc,
        reviews.review_id asc

),

-- Nothing is observed before the milestone, not even a leaver: those who left early would otherwise be
-- known before those of their cohort who stayed, and the base rate would be too low for a year.
judged as (

    select
        facts.*,
        case
            when not is_due then 'pending'
            when departure in ('voluntary', 'involuntary') then 'observed'
            when departure in ('layoff', 'retirement', 'end_of_contract') then 'censored'
            when departure is not null then 'missing'
            when rating is not null then 'observed'
            when is_overdue then 'missing'
            else 'pending'
        end as status
    from facts

),

outcomes as (

    select
        decision_id,
        use_case,
        case_key,
        milestone_months,
        hired_on as starts_on,
        case when is_due then terminated_on end as ended_on,
        due_on,
        status,
        case
            when status <> 'observed' then null
            when departure is not null then 0
            when rating >= {{ declared('recruitment', 'good_hire_rating', 'double precision') }} then 1
            else 0
        end::double precision as value,
        case when is_due and employee_key is not null then departure is null end as retained,
        case when status = 'observed' and departure is null then rating end as rating,
        known_from,
        known_to
    from judged

),

{{ collapse(
    'outcomes',
    key=['decision_id', 'use_case', 'case_key', 'milestone_months'],
    facts=['starts_on', 'ended_on', 'due_on', 'status', 'value', 'retained', 'rating'],
) }}

select * from collapsed
