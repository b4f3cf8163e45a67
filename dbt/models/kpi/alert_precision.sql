{{ config(pre_hook="{{ forget_all() }}") }}

with counted as (

    select
        use_case,
        date_trunc('month', decided_on::timestamp)::date as decision_month,
        arm,
        count(*)::integer as decisions,
        (count(*) filter (where is_matured))::integer as matured,
        (count(*) filter (where is_matured and resigned))::integer as resigned
    from {{ ref('int_alert_outcomes') }}
    group by use_case, decision_month, arm

)

select
    counted.*,
    resigned::double precision / nullif(matured, 0) as resigned_share,
    {{ wilson('lower', 'resigned', 'matured') }} as resigned_low,
    {{ wilson('upper', 'resigned', 'matured') }} as resigned_high
from counted
