"""Pages to be opened in a browser: single HTML files that load nothing from anywhere."""

from html import escape
from pathlib import Path

import plotly.graph_objects as go

STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
       color: #1b1f24; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100%; font-size: .92rem }
th, td { border-bottom: 1px solid #d0d7de; padding: .35rem .6rem; text-align: left; vertical-align: top }
.verdict { font-size: 1.15rem; border-left: 4px solid #0969da; padding: .3rem .9rem; background: #f6f8fa }
"""


def page(title: str, parts: list[str]) -> str:
    """A whole page of these parts, which are HTML already."""
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{''.join(parts)}</body></html>"
    )


def table(names: list[str], rows: list[list[str]]) -> str:
    """A table of plain texts."""
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def figure(drawn: go.Figure, with_library: bool) -> str:
    """A figure as part of a page; the first one of a page brings Plotly's library along (4 MB)."""
    drawn.update_layout(margin={"l": 60, "r": 20, "t": 10, "b": 40}, plot_bgcolor="#fff")
    drawn.update_yaxes(gridcolor="#eaeef2")
    library = "inline" if with_library else False
    return drawn.to_html(full_html=False, include_plotlyjs=library, config={"displayModeBar": False})


def put(path: Path, content: str) -> Path:
    """Write a page whole or not at all, and return where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(content, encoding="utf-8")
    draft.replace(path)
    return path
