{{ config(pre_hook=[
    "{{ forget_changed_months('hired_month', ref('int_hires'), 'application_id', 'hired_at') }}",
    "{{ join_in_bulk() }}",
]) }}

-- Built behind the features, so that it does not hold up what the loop reads: dbt takes what is ready first.
-- depends_on: {{ ref('feat_application') }}
with hires as (

    select * from {{ ref('int_hires') }}
    where known_to is null and {{ is_in_changed_month('hired_at') }}

),

applications as (

    select * from {{ ref('stg_ats__applications') }}
    where
        known_to is null
        and {{ is_any_of('application_id', 'select hires.application_id from hires') }}

),

requisitions as (

    select * from {{ ref('int_requisition_versions') }}
    where known_to is null

),

days as (

    select
        requisitions.job_family,
        {{ month_of('hires.hired_at') }} as hired_month,
        -- numeric, so that the mean does not depend on the order of the rows
        (extract(epoch from hires.hired_at - applications.applied_at) / 86400)::numeric as days
    from hires
    inner join applications on hires.application_id = applications.application_id
    left join requisitions on applications.requisition_id = requisitions.requisition_id
    where hires.hired_at >= applications.applied_at

)

select
    coalesce(job_family, 'unknown') as job_family,
    hired_month,
    count(*)::integer as hires,
    round(avg(days), 2)::double precision as mean_days,
    round((percentile_cont(0.5) within group (order by days))::numeric, 2)::double precision as median_days
from days
group by coalesce(job_family, 'unknown'), hired_month
