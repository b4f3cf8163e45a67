{{ config(unique_key='employee_key') }}

-- The first day of each employee, as it was known over time. Of all rows known by a time the one valid
-- latest speaks; a corrected row has the same valid_from and a later known time, so it speaks instead.
with employees as (

    select * from {{ ref('stg_hris__employees') }}
    where {{ has_new_version(ref('stg_hris__employees'), 'employee_key') }}

),

latest_of_each_time as (

    select distinct on (employee_key, known_from)
        employee_key,
        candidate_key,
        hired_on,
        valid_from,
        known_from
    from employees
    where hired_on is not null
    order by employee_key asc, known_from asc, valid_from desc

),

compared_to_earlier as (

    select
        latest_of_each_time.*,
        max(valid_from) over (
            partition by employee_key
            order by known_from
            rows between unbounded preceding and 1 preceding
        ) as latest_before
    from latest_of_each_time

),

speaking as (

    select
        employee_key,
        candidate_key,
        hired_on,
        known_from,
        lead(known_from, 1, 'infinity') over (partition by employee_key order by known_from) as known_to
    from compared_to_earlier
    where latest_before is null or valid_from >= latest_before

),

{{ collapse('speaking', key=['employee_key'], facts=['candidate_key', 'hired_on']) }}

select * from collapsed
