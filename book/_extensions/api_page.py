"""Sphinx extension for the API pages: the directive ``{modules}``, no entries for fields of named tuples, letters that stay letters, and
types that are types.

``{modules}`` documents the modules whose names are its lines, each in a section of its own. Of a package it shows the docstring only,
because each of its public names is documented with the module that defines it::

    ```{modules}
    glo_lib.codes
    glo_lib.codes.table
    ```
"""

import re
from importlib.util import find_spec

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

# The description of an argument that begins as a list would. Napoleon takes it for one too, and sets it on a line of its own.
ENUMERATOR = re.compile(r"^(:[a-z]+[^:\n]*:(?: |\n +))((?:[A-Za-z#]|\d+)[.)](?: |$))", re.MULTILINE)
NAMELESS = "Alias for field number"  # the docstring that Python gives a field of a named tuple


def autodoc_lines(name: str) -> list[str]:
    """Return the reStructuredText that documents a module or a package.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    found = find_spec(name)
    if found is None:
        raise ModuleNotFoundError(f"the directive {{modules}} names {name}, but there is no such module")
    options = ["no-members"] if found.submodule_search_locations else ["members", "ignore-module-all"]
    return [f".. automodule:: {name}", *(f"   :{option}:" for option in options)]


def section_of(name: str) -> nodes.section:
    """Return an empty section whose title is the name of a module."""
    return nodes.section("", nodes.title("", "", nodes.literal(text=name)), ids=[f"of-{nodes.make_id(name)}"], names=[name])


class Modules(SphinxDirective):
    """The directive ``{modules}``: the entries of the modules that its lines name, in their order."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        sections = []
        for name in filter(None, map(str.strip, self.content)):
            section = section_of(name)
            lines = StringList(["```{eval-rst}", *autodoc_lines(name), "```"], source="modules")
            self.state.nested_parse(lines, self.content_offset, section)
            sections.append(section)
        return sections


def skip_fields(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Skip fields of named tuples, because their class documents them. None leaves the decision to other extensions."""
    return True if (getattr(obj, "__doc__", None) or "").startswith(NAMELESS) else None


def keep_letters(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Escape descriptions such as "N.", which reStructuredText would read as the fourteenth item of a list."""
    lines[:] = ENUMERATOR.sub(r"\1\\\2", "\n".join(lines)).split("\n")


def keep_descriptions(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Give back to the description of what is returned its words before a colon, which napoleon takes for the type.

    The docstrings name no types, since the annotations do; autodoc adds those where there is no type.
    """
    types = [line for line in lines if line.startswith(":rtype: ")]
    if types:
        words = types[0].removeprefix(":rtype: ")
        lines[:] = [re.sub("^:returns: ", lambda _: f":returns: {words}: ", line) for line in lines if line != types[0]]


class BlocksOutOfParagraphs(SphinxPostTransform):
    """Take the paragraphs and lists of a description out of the paragraph that Sphinx puts them into, because HTML allows none there.

    The first paragraph goes on behind the name of the argument; what follows stands below.
    """

    default_priority = 500

    def run(self, **options: object) -> None:
        for paragraph in list(self.document.findall(nodes.paragraph)):
            for holder in [paragraph, *(child for child in paragraph.children if isinstance(child, nodes.inline))]:
                blocks = [child for child in holder.children if isinstance(child, (nodes.paragraph, nodes.Sequential))]
                for block in blocks:
                    if isinstance(block, nodes.paragraph) and block is blocks[0]:
                        holder.replace(block, block.children)
                    else:
                        holder.remove(block)
                        paragraph.parent.append(block)


def setup(app: Sphinx) -> dict:
    app.add_directive("modules", Modules)
    app.add_post_transform(BlocksOutOfParagraphs)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("autodoc-process-docstring", keep_letters, priority=600)  # after napoleon
    app.connect("autodoc-process-docstring", keep_descriptions, priority=600)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
