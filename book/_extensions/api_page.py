"""Sphinx extension for the API page: fields of named tuples get no entries of their own, because their class documents them."""

from sphinx.application import Sphinx

NAMELESS = "Alias for field number"  # the docstring that Python gives a field of a named tuple


def skip_fields(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Skip fields of named tuples; None leaves the decision to other extensions."""
    return True if (getattr(obj, "__doc__", None) or "").startswith(NAMELESS) else None


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-skip-member", skip_fields)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
