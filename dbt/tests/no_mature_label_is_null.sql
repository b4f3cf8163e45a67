-- Fails for an outcome that is observed and has no value, has a value and is not observed, or is pending
-- although the time to report is over.
with standing as (

    select
        outcomes.*,
        case use_case
            when 'recruitment' then {{ declared('recruitment', 'report_grace_days', 'integer') }}
            when 'attrition' then {{ declared('attrition', 'resignation_grace_days', 'integer') }}
        end as grace_days
    from {{ ref('fct_outcome_milestones') }} as outcomes

)

select *
from standing
where
    (status = 'observed') <> (value is not null)
    or (
        status = 'pending'
        and (due_on + grace_days)::timestamp at time zone 'UTC' <= {{ as_of() }}
    )
