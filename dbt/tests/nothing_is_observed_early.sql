<<<<<<< HEAD
-- Fails for a version of an outcome that was anything but pending before its milestone came; of a resignation,
-- which is entered late, before the time to enter it was over.
=======
{%- set entered_days = declared('attrition', 'resignation_grace_days', 'integer') %}
-- Fails for a version of an outcome that was anything but pending before its milestone came; in attrition,
-- before the time to enter an end was over.
>>>>>>> w-marts
select *
from {{ ref('int_outcome_milestone_versions') }}
where
    status <> 'pending'
<<<<<<< HEAD
    and known_from < (
        due_on
        + case when use_case = 'attrition' then {{ declared('attrition', 'resignation_grace_days', 'integer') }} else 0 end
    )::timestamp at time zone 'UTC'
=======
    and (known_from at time zone 'UTC')
    < due_on + case use_case when 'attrition' then {{ entered_days }} else 0 end
>>>>>>> w-marts
