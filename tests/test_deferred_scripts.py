"""No script of a page delays its text."""

import deferred_scripts
import pytest
from sphinx.builders.html._assets import _JavaScript


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (_JavaScript("a.js", priority=7), _JavaScript("a.js", priority=7, defer="defer")),
        (_JavaScript("a.js", defer="defer"), _JavaScript("a.js", defer="defer")),
        (_JavaScript(None, body="let a = 1;"), _JavaScript(None, body="let a = 1;")),
        (
            _JavaScript(None, body="\nDOCUMENTATION_OPTIONS.pagename = 'a';\n"),
            _JavaScript(None, body="document.addEventListener('DOMContentLoaded', () => { DOCUMENTATION_OPTIONS.pagename = 'a'; });"),
        ),
    ],
    ids=["a file", "a file that is deferred already", "lines that need nothing", "lines that need a file"],
)
def test_files_are_deferred_and_lines_that_need_them_wait(script, expected):
    assert deferred_scripts.deferred(script) == expected


@pytest.mark.parametrize(("template", "is_deferred"), [("page.html", True), ("genindex.html", True), ("search.html", False)])
def test_all_pages_but_the_search_page_have_deferred_scripts(template, is_deferred):
    context = {"script_files": [_JavaScript("a.js"), _JavaScript("b.js")]}
    deferred_scripts.defer_scripts(None, "name", template, context, None)
    assert [script.attributes.get("defer") for script in context["script_files"]] == [("defer" if is_deferred else None)] * 2
