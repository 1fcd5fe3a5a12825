"""Sphinx extension for the API page: fields of named tuples, whose meaning their class explains, get no entries of their own."""

from sphinx.application import Sphinx

NAMELESS = "Alias for field number"  # how Python documents a field of a named tuple


def skip_fields(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leave out what says nothing; None leaves the decision to others."""
    return True if (getattr(obj, "__doc__", None) or "").startswith(NAMELESS) else None


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-skip-member", skip_fields)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
