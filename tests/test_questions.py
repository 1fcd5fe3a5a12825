"""The script of the self-check questions is loaded on pages that have questions, deferred, and on no other page."""

from types import SimpleNamespace

import pytest
import questions

PAGE = '<fieldset class="question"><legend>1. Why?</legend></fieldset>'


@pytest.mark.parametrize(
    ("context", "loaded"),
    [({"body": f"<p>Text.</p>{PAGE}"}, [("questions.js", {"loading_method": "defer"})]), ({"body": "<p>A question.</p>"}, []), ({}, [])],
)
def test_pages_with_questions_load_the_script(context, loaded):
    calls = []
    app = SimpleNamespace(add_js_file=lambda name, **options: calls.append((name, options)))
    questions.load_script(app, "page", "page.html", context, None)
    assert calls == loaded


def test_the_script_is_small_and_lies_where_sphinx_copies_it_from():
    app = SimpleNamespace(config=SimpleNamespace(html_static_path=["_static"]))
    questions.add_folder(app)
    assert app.config.html_static_path == ["_static", str(questions.FOLDER)]
    assert [path.name for path in questions.FOLDER.iterdir()] == [questions.SCRIPT]
    assert (questions.FOLDER / questions.SCRIPT).stat().st_size < 2_000
