{# Refuses to go on without a variable that has no sensible default. Commands that only read the project
   (parse, list, docs) go without it. #}
{% macro require(name, remedy) -%}
    {%- if var(name, none) is none and execute
        and flags.WHICH not in ('parse', 'list', 'generate', 'serve', 'clean', 'deps') -%}
        {{ exceptions.raise_compiler_error("The variable '" ~ name ~ "' is missing. " ~ remedy) }}
    {%- endif -%}
{%- endmacro %}


{# The time as of which the warehouse stands: nothing that became known later is in it. #}
{% macro as_of() -%}
    {%- do require('as_of', "Say as of when to build: --vars '{as_of: \"2026-10-01T06:00:00Z\"}'.") -%}
    {%- set moment = var('as_of', 'infinity') -%}
    {%- if execute and moment != 'infinity' and not modules.re.search('(Z|[+-][0-9]{2}:?[0-9]{2})$', moment) -%}
        {{ exceptions.raise_compiler_error(
            "as_of '" ~ moment ~ "' has no UTC offset. Write it like 2026-10-01T06:00:00Z."
        ) }}
    {%- endif -%}
    '{{ moment }}'::timestamptz
{%- endmacro %}


{# What the use cases declare, by name of use case and key. #}
{% macro declarations() -%}
    {%- do require('use_cases', '`hrloop` passes what each models/<use case>/use_case.yaml declares.') -%}
    {%- set given = var('use_cases', {}) -%}
    {{ return(given if given is mapping else {}) }}
{%- endmacro %}


{# Names of the declared use cases, as an array. A use case that is not declared has no cases here. #}
{% macro declared_use_cases() -%}
    '{ {{- declarations().keys() | join(', ') -}} }'::text[]
{%- endmacro %}


{# What a use case declares under a key (its milestones, its actions, an outcome parameter), as an SQL literal
   of the type; null where the use case is not declared. #}
{% macro declared(use_case, key, type) -%}
    {%- set declaration = declarations().get(use_case) -%}
    {%- if declaration is none -%}
        null
    {%- elif key not in declaration -%}
        {{ exceptions.raise_compiler_error(
            "models/" ~ use_case ~ "/use_case.yaml does not declare outcome.parameters." ~ key
            ~ ", which its marts need. Add it with its reason; `hrloop` passes it."
        ) }}
    {%- elif declaration[key] is number -%}
        {{ declaration[key] }}
    {%- elif declaration[key] is string -%}
        '{{ declaration[key] }}'
    {%- else -%}
        '{ {{- declaration[key] | join(', ') -}} }'
    {%- endif -%}
    ::{{ type }}
{%- endmacro %}
