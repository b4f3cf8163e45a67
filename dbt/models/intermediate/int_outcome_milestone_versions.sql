{{ config(materialized='view') }}

-- What became of each selection, at each milestone, as it was known over time, of all use cases. A rating
-- that is put right begins a version, but no new label where status and value stay: that was known before.
with outcomes as (

    select * from {{ ref('int_hire_outcome_versions') }}

    union all

    select * from {{ ref('int_resignation_outcome_versions') }}

),

compared as (

    select
        outcomes.*,
        (
            known_from is distinct from lag(known_to) over by_milestone
            or status is distinct from lag(status) over by_milestone
            or value is distinct from lag(value) over by_milestone
        ) as is_new_label
    from outcomes
    window by_milestone as (partition by use_case, case_key, milestone_months order by known_from)

)

select
    decision_id,
    use_case,
    case_key,
    milestone_months,
    starts_on,
    ended_on,
    due_on,
    status,
    value,
    retained,
    rating,
    known_from,
    known_to,
    max(known_from) filter (where is_new_label) over (
        partition by use_case, case_key, milestone_months order by known_from
    ) as label_known_from
from compared
