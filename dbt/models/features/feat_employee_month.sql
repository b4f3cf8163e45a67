{{ config(unique_key='employee_month_id', pre_hook="{{ join_in_bulk() }}") }}

-- The features of an employee's month, as known when its row first came: what concerns the person as known at
-- that moment, what concerns others as known when the first row of the month came.
with employee_months as (

    select
        employee_months.*,
        (open_from at time zone 'UTC')::date as opened_on
    from {{ ref('int_employee_months') }} as employee_months
    where {{ is_changed('employee_month_id') }}

),

work as (

    select * from {{ ref('int_work_baselines') }}
    where {{ is_changed('employee_month_id') }}

),

answers as (

    select
        employee_months.employee_month_id,
        surveys.surveyed_on,
        surveys.engagement,
        surveys.enps,
        surveys.manager_score,
        row_number() over (
            partition by employee_months.employee_month_id order by surveys.surveyed_on desc
        ) as recency
    from employee_months
    inner join {{ ref('stg_hris__surveys') }} as surveys
        on
            employee_months.employee_key = surveys.employee_key
            and employee_months.opened_on >= surveys.surveyed_on
            and employee_months.open_from >= surveys.known_from
            and employee_months.open_from < coalesce(surveys.known_to, 'infinity')

),

surveys as (

    select
        employee_month_id,
        count(*) as surveys_answered,
        max(surveyed_on) as surveyed_on,
        max(engagement) filter (where recency = 1) as engagement,
        max(enps) filter (where recency = 1) as enps,
        max(manager_score) filter (where recency = 1) as manager_score,
        (avg(engagement::numeric) filter (where recency > 1))::double precision as engagement_before,
        (avg(enps::numeric) filter (where recency > 1))::double precision as enps_before,
        (avg(manager_score::numeric) filter (where recency > 1))::double precision as manager_score_before
    from answers
    group by employee_month_id

),

judgements as (

    select
        employee_months.employee_month_id,
        reviews.period_end,
        reviews.rating,
        row_number() over (
            partition by employee_months.employee_month_id
            order by reviews.period_end desc, reviews.review_id asc
        ) as recency
    from employee_months
    inner join {{ ref('stg_hris__reviews') }} as reviews
        on
            employee_months.employee_key = reviews.employee_key
            and employee_months.opened_on >= reviews.period_end
            and employee_months.open_from >= reviews.known_from
            and employee_months.open_from < coalesce(reviews.known_to, 'infinity')
    where reviews.rating is not null

),

reviews as (

    select
        employee_month_id,
        max(period_end) as reviewed_on,
        max(rating) filter (where recency = 1) as last_rating,
        max(rating) filter (where recency = 1) - max(rating) filter (where recency = 2) as rating_change
    from judgements
    where recency <= 2
    group by employee_month_id

),

interventions as (

    select
        employee_months.employee_month_id,
        count(*) as interventions_12_months
    from employee_months
    inner join {{ ref('stg_hris__interventions') }} as measures
        on
            employee_months.employee_key = measures.employee_key
            and employee_months.opened_on >= measures.started_on
            and employee_months.opened_on < measures.started_on + interval '12 months'
            and employee_months.open_from >= measures.known_from
            and employee_months.open_from < coalesce(measures.known_to, 'infinity')
    group by employee_months.employee_month_id

),

openings as (

    select distinct
        month,
        first_open_from,
        (first_open_from at time zone 'UTC')::date as opened_on
    from employee_months

),

-- Everybody on record at the opening of a month, in the position valid then.
positions as (

    select distinct on (openings.month, employees.employee_key)
        openings.month,
        openings.opened_on,
        employees.employee_key,
        employees.hired_on,
        employees.manager_key,
        employees.job_family,
        employees.job_level,
        employees.monthly_salary
    from openings
    inner join {{ ref('stg_hris__employees') }} as employees
        on
            openings.opened_on >= employees.valid_from
            and openings.first_open_from >= employees.known_from
            and openings.first_open_from < coalesce(employees.known_to, 'infinity')
    order by openings.month asc, employees.employee_key asc, employees.valid_from desc

),

departures as (

    select
        openings.month,
        terminations.employee_key,
        terminations.terminated_on
    from openings
    inner join {{ ref('stg_hris__terminations') }} as terminations
        on
            openings.opened_on > terminations.terminated_on
            and openings.first_open_from >= terminations.known_from
            and openings.first_open_from < coalesce(terminations.known_to, 'infinity')

),

workforce as (

    select
        positions.*,
        departures.terminated_on as left_on
    from positions
    left join departures
        on
            positions.month = departures.month
            and positions.employee_key = departures.employee_key
            and positions.hired_on <= departures.terminated_on

),

pay as (

    select
        month,
        job_family,
        job_level,
        percentile_cont(0.5) within group (order by monthly_salary) as median_salary
    from workforce
    where left_on is null
    group by month, job_family, job_level
    having count(monthly_salary) >= {{ var('peers_at_least') }}

),

teams as (

    select
        month,
        manager_key,
        count(*) filter (where left_on is null) as team_size,
        count(*) filter (where left_on >= opened_on - interval '3 months') as team_leavers_3,
        count(*) filter (where left_on >= opened_on - interval '6 months') as team_leavers_6
    from workforce
    group by month, manager_key

),

-- What shows before people leave, each so that more of it is worse.
changes as (

    select
        work.employee_month_id,
        work.overtime_hours_change_in_spreads as overtime,
        -work.messages_sent_change_in_spreads as messages,
        surveys.engagement_before - surveys.engagement as engagement
    from work
    left join surveys on work.employee_month_id = surveys.employee_month_id

),

-- (x + |x|) / 2 is what of x lies above 0, and null where x is; greatest would make 0 of a null.
signals as (

    select
        employee_month_id,
        overtime >= {{ var('clear_change') }} as overtime_up,
        messages >= {{ var('clear_change') }} as messages_down,
        engagement >= {{ var('survey_drop') }} as survey_down,
        (overtime + abs(overtime)) / 2 as overtime_rise,
        (messages + abs(messages)) / 2 as messages_fall,
        (engagement + abs(engagement)) / 2 as engagement_fall
    from changes

)

select
    employee_months.employee_month_id,
    employee_months.employee_key,
    employee_months.area,
    employee_months.month,
    employee_months.open_from as known_from,
    null::timestamptz as known_to,
    employee_months.open_from,
    employee_months.open_to,
    work.baseline_months,
    {% for measure in work_measures() %}
        work.{{ measure }},
        work.{{ measure }}_mean_3,
        work.{{ measure }}_baseline,
        work.{{ measure }}_change,
        work.{{ measure }}_change_in_spreads,
    {% endfor %}
    surveys.engagement,
    surveys.enps::double precision as enps,
    surveys.manager_score,
    surveys.engagement - surveys.engagement_before as engagement_change,
    (surveys.enps - surveys.enps_before)::double precision as enps_change,
    surveys.manager_score - surveys.manager_score_before as manager_score_change,
    {{ months_between('surveys.surveyed_on', 'employee_months.opened_on') }} as months_since_survey,
    coalesce(surveys.surveys_answered, 0)::integer as surveys_answered,
    signals.overtime_up,
    signals.messages_down,
    signals.survey_down,
    signals.overtime_up::integer + signals.messages_down::integer + signals.survey_down::integer
        as signals_together,
    signals.overtime_rise * signals.messages_fall as overtime_rise_by_messages_fall,
    signals.overtime_rise * signals.engagement_fall as overtime_rise_by_engagement_fall,
    signals.messages_fall * signals.engagement_fall as messages_fall_by_engagement_fall,
    signals.overtime_rise * signals.messages_fall * signals.engagement_fall as all_signals_product,
    {{ at_most(
        months_between('employee_months.hired_on', 'employee_months.opened_on'), var('tenure_at_most')
    ) }} as tenure_months,
    employee_months.department,
    employee_months.location,
    employee_months.job_family,
    employee_months.job_level,
    employee_months.employment_type,
    employee_months.fte,
    employee_months.monthly_salary / nullif(pay.median_salary, 0) as pay_to_peers,
    {% for fact in ['pay', 'level', 'manager'] %}
        {{ at_most(
            months_between(
                'coalesce(employee_months.' ~ fact ~ '_changed_on, employee_months.hired_on)',
                'employee_months.opened_on'
            ),
            var('change_months_at_most')
        ) }} as months_since_{{ fact }}_change,
    {% endfor %}
    coalesce(employee_months.opened_on < employee_months.manager_changed_on + interval '12 months', false)
        as manager_changed_12_months,
    reviews.last_rating,
    reviews.rating_change,
    {{ months_between('reviews.reviewed_on', 'employee_months.opened_on') }} as months_since_review,
    teams.team_size::integer as team_size,
    teams.team_leavers_3::double precision / nullif(teams.team_size + teams.team_leavers_3, 0)
        as team_leavers_share_3_months,
    teams.team_leavers_6::double precision / nullif(teams.team_size + teams.team_leavers_6, 0)
        as team_leavers_share_6_months,
    coalesce(interventions.interventions_12_months, 0)::integer as interventions_12_months,
    extract(month from employee_months.month)::integer as month_of_year
from employee_months
left join work on employee_months.employee_month_id = work.employee_month_id
left join surveys on employee_months.employee_month_id = surveys.employee_month_id
left join signals on employee_months.employee_month_id = signals.employee_month_id
left join reviews on employee_months.employee_month_id = reviews.employee_month_id
left join interventions on employee_months.employee_month_id = interventions.employee_month_id
left join pay
    on
        employee_months.month = pay.month
        and employee_months.job_family = pay.job_family
        and employee_months.job_level = pay.job_level
left join teams
    on
        employee_months.month = teams.month
        and employee_months.manager_key = teams.manager_key
