"""Pieces of HTML; all text that comes in is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

# A page that lists more rows than this says how many it leaves out; the JSON has all.
MOST_ROWS = 600


def section(title: str, *content: str) -> str:
    """A part of the page; empty where it has no content."""
    inside = "\n".join(one for one in content if one)
    return f"<section>\n<h2>{escape(title)}</h2>\n{inside}\n</section>" if inside else ""


def folded(title: str, content: str) -> str:
    """Content that is there, and printed, when its title was clicked."""
    return f"<details>\n<summary>{escape(title)}</summary>\n{content}\n</details>" if content else ""


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def items(texts: Iterable[str]) -> str:
    """A list with a point for each text."""
    points = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{points}</ul>" if points else ""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A table whose first column names the rows; empty where there is no row."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(header)}</th>' for header in headers)
    lines = [
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows[:MOST_ROWS]
    ]
    left_out = len(rows) - len(lines)
    more = paragraph(f"and {left_out:,} more, which are in report.json", "caption") if left_out else ""
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "\n".join(lines)
    return f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>{more}'


def pairs(values: Mapping[str, Any]) -> str:
    """Names and values, the values of a mapping or list below them."""
    rows = "".join(f"<dt>{escape(str(name))}</dt><dd>{value(one)}</dd>" for name, one in values.items())
    return f"<dl>{rows}</dl>" if rows else ""


def value(one: Any) -> str:
    """A value of JSON as a person would write it."""
    if isinstance(one, Mapping):
        return pairs(one) or "none"
    if isinstance(one, list):
        shown = one[:MOST_ROWS]
        more = f" and {len(one) - len(shown):,} more" if len(shown) < len(one) else ""
        if any(isinstance(entry, Mapping | list) for entry in one):
            return "<ul>" + "".join(f"<li>{value(entry)}</li>" for entry in shown) + "</ul>" + more
        return (", ".join(value(entry) for entry in shown) or "none") + more
    if one is None or one == "":
        return "–"
    if isinstance(one, bool):
        return "yes" if one else "no"
    return escape(str(one))


def tile(name: str, figure: str, note: str = "") -> str:
    """A figure of merit in large digits."""
    below = f"<small>{escape(note)}</small>" if note else ""
    return f'<div class="tile"><span>{escape(name)}</span><strong>{escape(figure)}</strong>{below}</div>'


def picture(title: str, source: str, alternative: str, caption: str, files: Sequence[str], wide: bool) -> str:
    """A figure; ``source`` is a data URI, ``files`` are where it also is, beside the page."""
    kind = ' class="across"' if wide else ""
    links = " · ".join(f'<a href="{escape(file)}">{escape(file.rpartition(".")[2].upper())}</a>' for file in files)
    return (
        f'<figure{kind}>\n<h3>{escape(title)}</h3>\n<img src="{source}" alt="{escape(alternative)}">\n'
        f"<figcaption>{escape(caption)} <span>{links}</span></figcaption>\n</figure>"
    )
