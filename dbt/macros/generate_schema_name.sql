{# Schemas carry their bare names (staging, outcomes, …): roles are granted rights on exactly these. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
