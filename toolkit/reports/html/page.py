"""Sections to one HTML file: nothing in it asks for anything outside it, and no name in it is markup or script.

What comes from records is escaped by the template, and by `embedded` in JSON. The page's policy allows the scripts and
the style that stand in it, by their hashes, and no request at all.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from toolkit.reports.html.charts import DARK
from toolkit.reports.html.content import Section
from toolkit.reports.html.definitions import DEFINITIONS, anchor

# Whatever could end a script element, or open a comment in it.
UNSAFE = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&'\u2028\u2029"})
# Plotly's script adds the style of a library for maps, by this id, unless something has it already; none is drawn here.
FOREIGN_STYLE = re.compile(r'getElementById\("([0-9a-f]{64})"\)')


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole page."""
    style, script, plotly = (_text("style.css"), _text("script.js"), _plotly())
    # Plotly fills style elements that it makes empty, rule by rule.
    policy = (
        f"default-src 'none'; script-src {_hashed(plotly)} {_hashed(script)}; "
        f"style-src {_hashed(style)} {_hashed('')}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return _template().render(
        title=title, subtitle=subtitle, sections=sections, policy=policy, definitions=DEFINITIONS, dark=DARK,
        foreign=FOREIGN_STYLE.findall(plotly), style=Markup(style), script=Markup(script), plotly=Markup(plotly),  # noqa: S704 - our own files, and Plotly's
    )  # fmt: skip


def embedded(value: Any) -> Markup:
    """A value as JSON that can stand in a script element: no text in it ends that, or a line of it."""
    return Markup(json.dumps(value, allow_nan=False).translate(UNSAFE))  # noqa: S704 - escaped by the line itself


def defined(header: str) -> tuple[str, str, str] | None:
    """Of a header that is a term: the term, what stands after it (its unit), and the term's anchor."""
    for term in (header, header.split(",", maxsplit=1)[0]):
        if term in DEFINITIONS:
            return term, header.removeprefix(term), anchor(term)
    return None


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"embedded": embedded, "defined": defined, "anchor": anchor}
    return environment.from_string(_text("template.html.j2"))


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """Plotly's script as its package has it, read without importing the package."""
    return files("plotly").joinpath("package_data/plotly.min.js").read_text(encoding="utf-8")


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
