{{ config(unique_key='employee_month_id', pre_hook="{{ join_in_bulk() }}") }}

-- Who worked in each month, and in which position, as known when the month's row first came. Later
-- corrections do not change it. Such a month is a case: it is decided upon while it is the newest. There are
-- none where the use case is not declared, so that nobody waits for features that nothing reads.
with every_month as (

    select
        employee_key,
        month,
        min(known_from) as open_from
    from {{ ref('stg_hris__work_months') }}
    where 'attrition' = any({{ declared_use_cases() }})
    group by employee_key, month

),

months as (

    select * from every_month
    where {{ is_changed(employee_month_id('employee_key', 'month')) }}

),

-- With the first row of a later month a month is over for all: who has none in that one has left, or is away.
openings as (

    select
        month,
        min(open_from) as first_open_from,
        lead(min(open_from)) over (order by month) as over_from
    from every_month
    group by month

),

-- An end that lies before the month was that of an earlier employment.
ends as (

    select
        months.employee_key,
        months.month,
        min(terminations.known_from) as end_known_from
    from months
    inner join {{ ref('stg_hris__terminations') }} as terminations
        on
            months.employee_key = terminations.employee_key
            and months.month <= terminations.terminated_on
    group by months.employee_key, months.month

),

records as (

    select
        months.employee_key,
        months.month,
        employees.valid_from,
        employees.hired_on,
        employees.department,
        employees.location,
        employees.job_family,
        employees.job_level,
        employees.manager_key,
        employees.employment_type,
        employees.fte,
        employees.monthly_salary,
        lead(employees.monthly_salary) over newest_first as previous_salary,
        lead(employees.job_level) over newest_first as previous_level,
        lead(employees.manager_key) over newest_first as previous_manager_key,
        row_number() over newest_first as recency
    from months
    inner join {{ ref('stg_hris__employees') }} as employees
        on
            months.employee_key = employees.employee_key
            and months.open_from >= employees.known_from
            and months.open_from < coalesce(employees.known_to, 'infinity')
            and (months.open_from at time zone 'UTC')::date >= employees.valid_from
    window newest_first as (partition by months.employee_key, months.month order by employees.valid_from desc)

),

changes as (

    select
        employee_key,
        month,
        max(valid_from) filter (where monthly_salary <> previous_salary) as pay_changed_on,
        max(valid_from) filter (where job_level <> previous_level) as level_changed_on,
        max(valid_from) filter (where manager_key <> previous_manager_key) as manager_changed_on
    from records
    group by employee_key, month

)

select
    {{ employee_month_id('months.employee_key', 'months.month') }} as employee_month_id,
    months.employee_key,
    months.month,
    months.open_from,
    openings.first_open_from,
    least(openings.over_from, ends.end_known_from) as open_to,
    coalesce(nullif(concat_ws(', ', records.department, records.location), ''), 'unknown') as area,
    records.department,
    records.location,
    records.job_family,
    records.job_level,
    records.manager_key,
    records.employment_type,
    records.fte,
    records.monthly_salary,
    records.hired_on,
    changes.pay_changed_on,
    changes.level_changed_on,
    changes.manager_changed_on
from months
inner join openings on months.month = openings.month
left join ends on months.employee_key = ends.employee_key and months.month = ends.month
left join records
    on
        months.employee_key = records.employee_key
        and months.month = records.month
        and records.recency = 1
left join changes on months.employee_key = changes.employee_key and months.month = changes.month
