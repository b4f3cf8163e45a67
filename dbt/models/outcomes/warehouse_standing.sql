{{ config(materialized='table') }}

-- Built last, when all else stands and is tested: who reads the warehouse can tell as of when it stands.
-- depends_on: {{ ref('fct_decisions') }}
-- depends_on: {{ ref('feat_application') }}
-- depends_on: {{ ref('feat_employee_month') }}
-- depends_on: {{ ref('feedback_completeness') }}
-- depends_on: {{ ref('time_to_hire') }}
-- depends_on: {{ ref('funnel') }}
-- depends_on: {{ ref('retention_of_suggested_hires') }}
-- depends_on: {{ ref('early_warning') }}
-- depends_on: {{ ref('alert_precision') }}
-- depends_on: {{ ref('intervention_success') }}
-- depends_on: {{ ref('retention') }}
select
    {{ as_of() }} as as_of,
    '{{ tojson(declarations()) }}'::jsonb as declarations
