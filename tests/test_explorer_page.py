"""The extension of the explorer's page adds scripts to that page alone, and exports the model once for each state of it."""

from types import SimpleNamespace

import explorer
import pytest

from glo_lib.inference import web
from glo_lib.runs import packed


@pytest.fixture
def app(tmp_path):
    added = []
    return SimpleNamespace(
        outdir=tmp_path / "html",
        builder=SimpleNamespace(format="html"),
        env=SimpleNamespace(found_docs={"index", "explorer"}),
        added=added,
        add_css_file=added.append,
        add_js_file=lambda name, loading_method: added.append((name, loading_method)),
    )


def test_only_the_page_of_the_explorer_gets_its_scripts(app):
    explorer.add_scripts(app, "inference", "page.html", {}, None)
    assert app.added == []
    explorer.add_scripts(app, "explorer", "page.html", {}, None)
    assert app.added == ["../explorer/explorer.css", ("../explorer/codes.js", "defer"), ("../explorer/explorer.js", "defer")]


def test_the_page_is_made_again_when_a_script_has_changed(app, tmp_path):
    scripts = tmp_path / "extra" / "explorer" / "vendor"
    scripts.mkdir(parents=True)
    (scripts / "a.js").write_text("one")
    app.srcdir, env = tmp_path, SimpleNamespace(all_docs={"index": 1, "explorer": 1})

    def outdated():
        return explorer.outdated_page(app, env, set(), set(), set())

    assert [outdated(), outdated()] == [[], []]
    (scripts / "a.js").write_text("two")
    assert [outdated(), outdated()] == [["explorer"], []]


def test_the_model_is_exported_when_it_has_changed(app, tmp_path, monkeypatch):
    exported = []

    def export(run, folder):
        folder.mkdir(parents=True, exist_ok=True)
        exported.append(run)

    monkeypatch.setattr(web, "export_run_for_web", export)
    pretrained = tmp_path / "pretrained"
    pretrained.mkdir()
    monkeypatch.setattr(packed, "PRETRAINED", pretrained)
    (pretrained / "arrays.bin").write_bytes(b"one")
    explorer.write_model(app, None)
    explorer.write_model(app, None)
    assert exported == ["pretrained"]
    (pretrained / "arrays.bin").write_bytes(b"two")
    explorer.write_model(app, None)
    assert len(exported) == 2
    explorer.write_model(app, RuntimeError("the build failed"))
    app.env.found_docs = {"index"}
    (pretrained / "arrays.bin").write_bytes(b"three")
    explorer.write_model(app, None)
    assert len(exported) == 2


def test_a_missing_model_is_a_warning_of_the_build_and_is_tried_again(app, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "PRETRAINED", tmp_path / "none")
    said = []
    monkeypatch.setattr(explorer.log, "warning", lambda text, problem: said.append(text % problem))
    explorer.write_model(app, None)
    explorer.write_model(app, None)
    assert len(said) == 2 and "the explorer has no model" in said[0] and "make pretrained" in said[0]
