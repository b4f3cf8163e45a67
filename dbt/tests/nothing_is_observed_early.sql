-- Fails for a version of an outcome that was anything but pending before its milestone came; of a resignation,
-- which is entered late, before the time to enter it was over.
select *
from {{ ref('int_outcome_milestone_versions') }}
where
    status <> 'pending'
    and known_from < (
        due_on
        + case when use_case = 'attrition' then {{ declared('attrition', 'resignation_grace_days', 'integer') }} else 0 end
    )::timestamp at time zone 'UTC'
