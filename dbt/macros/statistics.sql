{# The 97.5 % quantile of the normal distribution: intervals of 95 %. #}
{% macro z_95() -%}1.959963984540054{%- endmacro %}


{# One end, `lower` or `upper`, of Wilson's 95 % interval of a share (Wilson 1927); null without cases. #}
{% macro wilson(end, events, cases) -%}
    (
        {{ events }} + {{ z_95() }} ^ 2 / 2
        {{ '-' if end == 'lower' else '+' }} {{ z_95() }} * sqrt(
            {{ events }} * (1 - {{ events }}::double precision / nullif({{ cases }}, 0)) + {{ z_95() }} ^ 2 / 4
        )
    )::double precision / ({{ cases }} + {{ z_95() }} ^ 2)
{%- endmacro %}
