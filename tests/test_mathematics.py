"""Formulas are rendered at build by KaTeX in Node.js, wherever it comes from, and without it by MathJax in the browser."""

import stat
from importlib.metadata import version
from pathlib import Path

import mathematics
import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

EXTRA = Path(__file__).parents[1] / "book/extra"
PAGES = {
    "index": "Formulas\n========\n\n.. toctree::\n\n   plain\n\nThe norm :math:`\\lVert z \\rVert`.\n\n.. math:: z^2\n",
    "plain": "Plain\n=====\n",
}


def build(folder, pages=PAGES):
    """Build pages with the extension, and return the folder of the output."""
    source = folder / "source"
    for name, text in pages.items():
        (source / f"{name}.rst").parent.mkdir(exist_ok=True)
        (source / f"{name}.rst").write_text(text)
    for name in ("katex/katex.min.css", "mathjax/tex-mml-chtml.js"):
        (source / "extra" / name).parent.mkdir(parents=True)
        (source / "extra" / name).write_text("/* styles or scripts */")
    settings = {
        "extensions": ["mathematics"],
        "html_theme": "basic",
        "html_extra_path": ["extra"],
        "mathjax_path": "../mathjax/tex-mml-chtml.js",
    }
    with patch_docutils(str(source)), docutils_namespace():
        Sphinx(source, None, folder / "out", folder / "doctrees", "html", settings, status=None).build()
    return folder / "out"


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_with_node_the_pages_contain_rendered_formulas_and_no_script_for_them(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # the Node.js of the package is found without it
    out = build(tmp_path)
    page, plain = ((out / f"{name}.html").read_text("utf8") for name in ("index", "plain"))
    assert page.count('class="katex"') == 2 and "<math xmlns" in page and "MathJax" not in page
    assert page.count("notranslate nohighlight math") == 2
    assert "katex/katex.min.css" in page and "katex" not in plain
    assert (out / "katex/katex.min.css").exists() and not (out / "mathjax").exists()


def test_without_node_the_browser_renders_the_formulas(tmp_path, monkeypatch):
    monkeypatch.setattr(mathematics, "find_node", lambda: None)
    out = build(tmp_path)
    page, plain = ((out / f"{name}.html").read_text("utf8") for name in ("index", "plain"))
    assert "mathjax/tex-mml-chtml.js" in page and "\\lVert z \\rVert" in page and "katex" not in page
    assert "MathJax" not in plain
    assert (out / "mathjax/tex-mml-chtml.js").exists() and not (out / "katex").exists()


def test_a_formula_that_cannot_be_read_stops_the_build(tmp_path):
    with pytest.raises(Exception, match="Undefined control sequence"):
        build(tmp_path, {"index": "Formulas\n========\n\n:math:`\\lvertt`\n"})


@pytest.mark.parametrize("name", ["bin/node", "node.exe"])
def test_the_node_of_the_package_comes_first(tmp_path, monkeypatch, name):
    from_package, _ = program(tmp_path / "package" / name, "exit 0"), program(tmp_path / "path/node", "exit 0")
    found = type("Spec", (), {"submodule_search_locations": [str(tmp_path / "package")]})
    monkeypatch.setattr(mathematics, "find_spec", lambda _: found)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert mathematics.find_node() == str(from_package)


@pytest.mark.parametrize("broken", ["", "exit 1"], ids=["no program", "a program that ends with an error"])
def test_a_node_that_does_not_run_is_passed_over(tmp_path, monkeypatch, broken):
    if broken:
        program(tmp_path / "package/bin/node", broken)
    found = type("Spec", (), {"submodule_search_locations": [str(tmp_path / "package")]})
    monkeypatch.setattr(mathematics, "find_spec", lambda _: found)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert mathematics.find_node() is None
    on_path = program(tmp_path / "path/node", "exit 0")
    assert mathematics.find_node() == str(on_path)


def test_without_the_package_the_path_is_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(mathematics, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mathematics.find_node() is None
    assert mathematics.find_node() != str(program(tmp_path / "node", "exit 0")) and mathematics.find_node() == str(tmp_path / "node")


def test_the_styles_in_the_book_are_those_of_the_katex_that_renders():
    from sphinxcontrib import katex

    assert f"KaTeX {katex.katex_version}" in (EXTRA / "katex/README.txt").read_text(), version("sphinxcontrib-katex")
    styles = (EXTRA / "katex/katex.min.css").read_text()
    named = {part.split(")")[0] for part in styles.split("url(")[1:]}
    assert named == {f"fonts/{path.name}" for path in (EXTRA / "katex/fonts").iterdir()} and len(named) == 20
    assert "The MIT License" in (EXTRA / "katex/LICENSE").read_text()
