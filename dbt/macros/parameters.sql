{# A variable that has no sensible default. Commands that only read the project (parse, list, docs) go
   without it. #}
{% macro required(name, placeholder, remedy) -%}
    {%- set value = var(name, none) -%}
    {%- if value is not none -%}
        {{ value }}
    {%- elif execute and flags.WHICH not in ('parse', 'list', 'generate', 'serve', 'clean', 'deps') -%}
        {{ exceptions.raise_compiler_error("The variable '" ~ name ~ "' is missing. " ~ remedy) }}
    {%- else -%}
        {{ placeholder }}
    {%- endif -%}
{%- endmacro %}


{# The time as of which the warehouse stands: nothing that became known later is in it. #}
{% macro as_of() -%}
    {%- set moment = required(
        'as_of', 'infinity', "Say as of when to build: --vars '{as_of: \"2026-10-01T06:00:00Z\"}'."
    ) -%}
    {%- if execute and moment != 'infinity' and not modules.re.search('(Z|[+-][0-9]{2}:?[0-9]{2})$', moment) -%}
        {{ exceptions.raise_compiler_error(
            "as_of '" ~ moment ~ "' has no UTC offset. Write it like 2026-10-01T06:00:00Z."
        ) }}
    {%- endif -%}
    '{{ moment }}'::timestamptz
{%- endmacro %}


{# The rating from which someone who stayed is a good hire. #}
{% macro good_hire_rating() -%}
    {{ required(
        'good_hire_rating', 0,
        'It is outcome.parameters.good_hire_rating in models/<use case>/use_case.yaml; `hrloop` passes it.'
    ) }}::double precision
{%- endmacro %}


{# Days after a milestone within which its review may still be reported. #}
{% macro report_grace_days() -%}
    {{ required(
        'report_grace_days', 0,
        'It is outcome.parameters.report_grace_days in models/<use case>/use_case.yaml; `hrloop` passes it.'
    ) }}::double precision::integer
{%- endmacro %}
