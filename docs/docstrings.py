"""Docstrings as the site shows them: roles of Sphinx become links where a page has the object."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`~?([\w.]+)`")

PAIR = re.compile(r"^( {4})(\w+), (\w+): ", re.MULTILINE)
"""Two settings that one line explains, which the site's reader of docstrings takes for one."""


class Roles(griffe.Extension):
    """Makes Markdown of what docstrings write for Sphinx."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of each object that is read."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """The text with links in place of roles, and without the mark of a literal block."""
    text = PAIR.sub(r"\1\2: see the next.\n\1\3: ", text)
    linked = ROLE.sub(
        lambda role: f'<autoref identifier="{role[1]}" optional>`{role[1]}`</autoref>', text
    )
    return re.sub(r"\s?::$", ":", linked, flags=re.MULTILINE)
