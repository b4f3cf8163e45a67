{{ config(pre_hook="{{ forget_all() }}") }}

with outcomes as (

    select * from {{ ref('int_alert_outcomes') }}

),

-- Inside the cut chance alone withheld an alert. Everybody counts once, at the first such draw, so that the
-- cases do not depend on one another.
first_draws as (

    select distinct on (use_case, employee_key)
        use_case,
        'alert' as measure,
        'randomised' as basis,
        arm = 'alerted' as is_treated,
        is_matured,
        resigned
    from outcomes
    where is_randomised and arm in ('alerted', 'held out')
    order by use_case, employee_key, decided_on

),

-- A month later, of those who are still there: who left before anything could be done must not count against
-- doing nothing (a landmark analysis; Anderson, Cain and Gelber 1983).
first_alerts as (

    select distinct on (use_case, employee_key)
        use_case,
        measure,
        is_matured and (left_on is null or left_on >= decided_on + interval '1 month') as is_matured,
        resigned
    from outcomes
    where arm in ('alerted', 'pushed up')
    order by use_case, employee_key, decided_on

),

measures as (

    select distinct measure
    from first_alerts
    where measure is not null

),

cases as (

    select * from first_draws

    union all

    select
        first_alerts.use_case,
        measures.measure,
        'observational' as basis,
        first_alerts.measure is not null as is_treated,
        first_alerts.is_matured,
        first_alerts.resigned
    from first_alerts
    inner join measures on coalesce(first_alerts.measure, measures.measure) = measures.measure

),

counted as (

    select
        use_case,
        measure,
        basis,
        (count(*) filter (where is_treated and is_matured))::integer as treated,
        (count(*) filter (where is_treated and is_matured and resigned))::integer as treated_resigned,
        (count(*) filter (where not is_treated and is_matured))::integer as untreated,
        (count(*) filter (where not is_treated and is_matured and resigned))::integer as untreated_resigned
    from cases
    group by use_case, measure, basis

),

shares as (

    select
        counted.*,
        treated_resigned::double precision / nullif(treated, 0) as treated_share,
        {{ wilson('lower', 'treated_resigned', 'treated') }} as treated_low,
        {{ wilson('upper', 'treated_resigned', 'treated') }} as treated_high,
        untreated_resigned::double precision / nullif(untreated, 0) as untreated_share,
        {{ wilson('lower', 'untreated_resigned', 'untreated') }} as untreated_low,
        {{ wilson('upper', 'untreated_resigned', 'untreated') }} as untreated_high
    from counted

)

-- The interval of the difference is Newcombe's, of the two Wilson intervals (1998, method 10).
select
    shares.*,
    treated_share - untreated_share as difference,
    treated_share - untreated_share
    - sqrt((treated_share - treated_low) ^ 2 + (untreated_high - untreated_share) ^ 2) as difference_low,
    treated_share - untreated_share
    + sqrt((treated_high - treated_share) ^ 2 + (untreated_share - untreated_low) ^ 2) as difference_high
from shares
