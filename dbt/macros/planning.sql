{# Statistics for the planner, for a table; a view has none. #}
{% macro analyse(relation) -%}
    {%- if model.config.materialized in ('table', 'incremental') %}analyze {{ relation }}{% endif -%}
{%- endmacro %}


{# The planner expects hardly any row of a join on overlapping intervals, and ten of those that are looked up in an
   index (is_any_of), and would join row by row. #}
{% macro join_in_bulk() -%}
    set local enable_nestloop = off
{%- endmacro %}
