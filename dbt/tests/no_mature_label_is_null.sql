-- Fails for an outcome that is observed and has no value, has a value and is not observed, or is pending
-- although the time to report is over.
with standing as (

    select * from {{ ref('fct_outcome_milestones') }}

)

select *
from standing
where
    (status = 'observed') <> (value is not null)
    or (
        status = 'pending'
        and (due_on + {{ report_grace_days() }})::timestamp at time zone 'UTC' <= {{ as_of() }}
    )
