-- Fails for a version of an outcome that was anything but pending before its milestone came.
select *
from {{ ref('int_outcome_milestone_versions') }}
where
    status <> 'pending'
    and known_from < due_on::timestamp at time zone 'UTC'
