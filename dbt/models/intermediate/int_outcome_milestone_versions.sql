{{ config(materialized='view') }}

-- What became of each selection, at each milestone, as it was known over time, of all use cases.
select * from {{ ref('int_hire_outcome_versions') }}

union all

select * from {{ ref('int_resignation_outcome_versions') }}
