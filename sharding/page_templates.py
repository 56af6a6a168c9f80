"""A package's HTML templates → the templates, loaded in one way for every page.

In: the name of a package with a folder `templates/`. Out: a jinja2 environment. Layout and style are
in the templates.
"""

from __future__ import annotations

import jinja2


def load(package: str) -> jinja2.Environment:
    """The templates of a package: every value is escaped, and a name that is not given is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
