{# The decisions that the loop recorded by as_of, of the declared use cases: the columns of int_decisions, in
   their order. #}
{% macro recorded_decisions() -%}
    select
        decision_id,
        use_case,
        case_key,
        subject_key,
        group_key,
        as_of as decided_at,
        as_of as known_at,
        'loop' as origin,
        model_version,
        arm,
        score,
        probability,
        confidence,
        rank,
        group_size,
        recommended_action,
        route,
        exploration,
        selection_propensity
    from {{ source('loop', 'decisions') }}
    where
        as_of < {{ as_of() }} -- a round is taken on the warehouse that stands at its as_of
        and use_case = any({{ declared_use_cases() }})
{%- endmacro %}
