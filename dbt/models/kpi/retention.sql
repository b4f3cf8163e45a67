{{ config(pre_hook="{{ forget_all() }}") }}

-- Kaplan and Meier's estimate (1958): the product, over the days on which somebody left, of the share of
-- those at risk who stayed. Leavers are on record since the first recorded end of an employment: who was
-- hired before is at risk only from then on, for whoever left earlier is missing beside them.
with today as (

    select
        ({{ as_of() }} at time zone 'UTC')::date as today,
        min(terminated_on) as records_begin_on
    from {{ ref('stg_hris__terminations') }}
    where known_to is null

),

terminations as (

    select * from {{ ref('stg_hris__terminations') }}
    where known_to is null

),

employments as (

    select
        int_employments.hired_on,
        coalesce(terminations.terminated_on <= today.today, false) as has_left,
        coalesce(terminations.kind in ('voluntary', 'involuntary'), false) as is_event,
        -- At risk from the day after this one on: from the first day itself, or from when records begin.
        case
            when int_employments.hired_on >= today.records_begin_on then -1
            else today.records_begin_on - int_employments.hired_on
        end as entered_day,
        least(terminations.terminated_on, today.today) - int_employments.hired_on as last_day
    from {{ ref('int_employments') }} as int_employments
    cross join today
    left join terminations
        on
            int_employments.employee_key = terminations.employee_key
            and int_employments.hired_on <= terminations.terminated_on
    where int_employments.known_to is null

),

lives as (

    select
        cohorts.cohort,
        employments.entered_day,
        employments.last_day,
        employments.has_left and employments.is_event as is_event
    from employments
    cross join lateral (values ('all'), (extract(year from employments.hired_on)::text)) as cohorts (cohort)
    where employments.last_day > employments.entered_day

),

-- Years of which nobody was seen from the first day on have no estimate.
cohorts as (

    select cohort
    from lives
    group by cohort
    having min(entered_day) < 0

),

comings_and_goings as (

    select
        cohort,
        entered_day as day,
        1 as change,
        0 as events
    from lives

    union all

    select
        cohort,
        last_day as day,
        -1 as change,
        is_event::integer as events
    from lives

),

days as (

    select
        cohort,
        day,
        sum(events)::double precision as events,
        sum(sum(change)) over (
            partition by cohort order by day rows between unbounded preceding and 1 preceding
        )::double precision as at_risk
    from comings_and_goings
    group by cohort, day

),

horizons as (

    select
        cohorts.cohort,
        listed.months,
        listed.months * 30.4375 as day
    from cohorts
    cross join (values (12), (24)) as listed (months)

),

-- Where all at risk left, the estimate falls to 0.
exits as (

    select
        cohort,
        day,
        case when events < at_risk then ln((at_risk - events) / at_risk) else '-infinity' end::numeric
            as ln_stayed,
        case when events < at_risk then events / (at_risk * (at_risk - events)) end::numeric as variance
    from days
    where events > 0

),

-- ln of the estimate, and the standard error of ln(-ln) of it by Greenwood's sum (1926). Summed up as exact
-- numbers: sums of floating-point ones depend on the order of the rows.
estimates as (

    select
        horizons.cohort,
        horizons.months,
        coalesce(sum(exits.ln_stayed), 0)::double precision as ln_retention,
        sqrt(sum(exits.variance)::double precision) / -nullif(sum(exits.ln_stayed), 0)::double precision
            as standard_error
    from horizons
    left join exits on horizons.cohort = exits.cohort and horizons.day >= exits.day
    group by horizons.cohort, horizons.months

),

counted as (

    select
        horizons.cohort,
        horizons.months,
        count(*)::integer as employees,
        (
            count(*) filter (where horizons.day between lives.entered_day and lives.last_day)
        )::integer as at_risk,
        (count(*) filter (where horizons.day >= lives.last_day and lives.is_event))::integer as events,
        (count(*) filter (where horizons.day > lives.last_day and not lives.is_event))::integer as censored
    from horizons
    inner join lives on horizons.cohort = lives.cohort
    group by horizons.cohort, horizons.months

)

-- Nothing is estimated beyond the time that somebody was seen. The interval is that of ln(-ln(retention))
-- (Kalbfleisch and Prentice 1980), which stays between 0 and 1.
select
    counted.cohort,
    counted.months,
    counted.employees,
    counted.at_risk,
    counted.events,
    counted.censored,
    case when counted.at_risk > 0 then exp(estimates.ln_retention) end as retention,
    case
        when counted.at_risk > 0
            then exp(estimates.ln_retention * exp({{ z_95() }} * estimates.standard_error))
    end as retention_low,
    case
        when counted.at_risk > 0
            then exp(estimates.ln_retention * exp(-{{ z_95() }} * estimates.standard_error))
    end as retention_high
from counted
inner join estimates
    on
        counted.cohort = estimates.cohort
        and counted.months = estimates.months
