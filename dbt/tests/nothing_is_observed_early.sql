{%- set entered_days = declared('attrition', 'resignation_grace_days', 'integer') %}
-- Fails for a version of an outcome that was anything but pending before its milestone came; in attrition,
-- before the time to enter an end was over.
select *
from {{ ref('int_outcome_milestone_versions') }}
where
    status <> 'pending'
    and (known_from at time zone 'UTC')
    < due_on + case use_case when 'attrition' then {{ entered_days }} else 0 end
