"""The source of functions and classes, shown in a notebook: a chapter's reader sees the library's own code."""

import ast
import inspect
import textwrap
from typing import Any


def show_source(*objects: Any) -> Any:
    """Show the source of functions, methods or classes as highlighted code.

    Docstrings are left out, because the page of the library's functions has them; comments stay.

    Args:
        objects: functions, methods or classes that are defined in a file.

    Returns:
        An ``IPython.display.Markdown``; as the last line of a cell it becomes the cell's output. The output is text, so nbval compares it,
        and a chapter cannot show other code than the library has.

    Example:
        >>> from glo_lib.images.pixels import to_bytes
        >>> print(show_source(to_bytes).data.splitlines()[1].partition("(")[0])
        def to_bytes
    """
    from IPython.display import Markdown  # comes with Jupyter, which the library alone does not need

    return Markdown("```python\n" + "\n\n\n".join(map(source_without_docstrings, objects)) + "\n```")


def source_without_docstrings(thing: Any) -> str:
    """Return the source of a function, method or class, without indentation and without its docstrings.

    A function or class that consists of a docstring alone keeps it.

    Raises:
        TypeError, OSError: the object has no source, because it is built in or was not defined in a file.
    """
    lines = textwrap.dedent(inspect.getsource(thing)).splitlines()
    removed: set[int] = set()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and ast.get_docstring(node) and len(node.body) > 1:
            first, last = node.body[0].lineno - 1, node.body[0].end_lineno
            assert last is not None  # the parser sets it
            is_followed_by_blank = last < len(lines) and not lines[last].strip()
            removed.update(range(first, last + is_followed_by_blank))
    return "\n".join(line for number, line in enumerate(lines) if number not in removed)
