{{ config(unique_key='employee_month_id', pre_hook="{{ join_in_bulk() }}") }}

-- How each employee worked of late, and how the same person worked before: the mean of the last three months
-- against a baseline, the months twelve to four before. All are as known when the last one first came.
--
-- Materialised, so that each text is read as a number once and not once for each month that looks back at it.
-- Summed up as exact numbers: sums of floating-point ones depend on the order of the rows.
with employee_months as materialized (

    select
        employee_month_id,
        employee_key,
        {{ month_number('month') }} as month_number,
        open_from
    from {{ ref('int_employee_months') }}
    where {{ is_changed('employee_month_id') }}

),

work_months as materialized (

    select
        employee_key,
        {{ month_number('month') }} as month_number,
        {% for measure in work_measures() %}
            {{ measure }}::numeric as {{ measure }},
        {% endfor %}
        known_from,
        coalesce(known_to, 'infinity') as known_to
    from {{ ref('stg_hris__work_months') }}
    where employee_key in (select employee_months.employee_key from employee_months)

),

looked_back as (

    select
        employee_months.employee_month_id,
        {% for measure in work_measures() %}
            work_months.{{ measure }},
        {% endfor %}
        employee_months.month_number - work_months.month_number as months_ago
    from employee_months
    inner join work_months
        on
            employee_months.employee_key = work_months.employee_key
            and employee_months.month_number - work_months.month_number between 0 and 12
            and employee_months.open_from >= work_months.known_from
            and employee_months.open_from < work_months.known_to

),

summed_up as (

    select
        employee_month_id,
        {% for measure in work_measures() %}
            (max({{ measure }}) filter (where months_ago = 0))::double precision as {{ measure }},
            (avg({{ measure }}) filter (where months_ago <= 2))::double precision as {{ measure }}_mean_3,
            (avg({{ measure }}) filter (where months_ago >= 4))::double precision as {{ measure }}_baseline,
            (stddev_samp({{ measure }}) filter (where months_ago >= 4))::double precision
                as {{ measure }}_spread,
        {% endfor %}
        (count(*) filter (where months_ago >= 4))::integer as baseline_months
    from looked_back
    group by employee_month_id

),

known_baselines as (

    select
        employee_month_id,
        {% for measure in work_measures() %}
            {{ measure }},
            {{ measure }}_mean_3,
            case when baseline_months >= {{ var('baseline_months_at_least') }} then {{ measure }}_baseline end
                as {{ measure }}_baseline,
            {{ measure }}_spread,
        {% endfor %}
        baseline_months
    from summed_up

)

select
    employee_month_id,
    {% for measure in work_measures() %}
        {{ measure }},
        {{ measure }}_mean_3,
        {{ measure }}_baseline,
        {{ measure }}_mean_3 - {{ measure }}_baseline as {{ measure }}_change,
        ({{ measure }}_mean_3 - {{ measure }}_baseline) / nullif({{ measure }}_spread, 0)
            as {{ measure }}_change_in_spreads,
    {% endfor %}
    baseline_months
from known_baselines
