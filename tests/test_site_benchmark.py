"""The measurement of the built pages: what is served, weighed and written."""

import gzip
import json
import urllib.request
from pathlib import Path

import pytest

from benchmarks import site

TOC = {"root": "index", "parts": [{"chapters": [{"file": "losses"}, {"file": "api", "sections": [{"file": "api/runs"}]}]}]}


def fetch(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
        return answer.headers, answer.read()


@pytest.mark.parametrize(
    ("name", "accepts", "compressed"),
    [("index.html", "gzip", True), ("", "gzip", True), ("index.html", "identity", False), ("picture.webp", "gzip", False)],
    ids=["text", "a folder", "a client that accepts nothing", "a picture"],
)
def test_text_is_compressed_for_clients_that_accept_it(tmp_path, name, accepts, compressed):
    (tmp_path / "index.html").write_text("words " * 100)
    (tmp_path / "picture.webp").write_bytes(b"picture")
    with site.served(tmp_path) as address:
        headers, content = fetch(address + name, **{"Accept-Encoding": accepts})
    expected = (tmp_path / (name or "index.html")).read_bytes()
    assert (headers["Content-Encoding"] == "gzip") == compressed and int(headers["Content-Length"]) == len(content)
    assert (gzip.decompress(content) if compressed else content) == expected


def test_a_file_that_does_not_exist_is_not_found(tmp_path):
    with site.served(tmp_path) as address, pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(address + "absent.html")


def test_a_page_that_changed_is_served_anew(tmp_path):
    with site.served(tmp_path) as address:
        for text in ("first", "the second"):
            (tmp_path / "index.html").write_text(text)
            assert gzip.decompress(fetch(address, **{"Accept-Encoding": "gzip"})[1]).decode() == text


def test_the_pages_are_those_of_the_table_of_contents():
    assert site.pages_of(TOC) == ["index", "losses", "api", "api/runs"]


def report(**scores):
    """Return a report as Lighthouse writes it, with one audit in each category; those below 1 failed."""
    audits = {name: {"displayValue": "0.9\N{NO-BREAK SPACE}s", "score": 0.5} for name in site.METRICS}
    audits |= {f"{name}-audit": {"score": score} for name, score in scores.items()} | {
        "not-counted": {"score": 0},
        "does-not-apply": {"score": None},
    }
    refs = {
        name: [{"id": f"{name}-audit", "weight": 3}, {"id": "not-counted", "weight": 0}, {"id": "does-not-apply", "weight": 1}]
        for name in scores
    }
    return {"audits": audits, "categories": {name: {"score": score, "auditRefs": refs[name]} for name, score in scores.items()}}


def test_a_report_is_reduced_to_scores_metrics_and_what_failed():
    found = site.summary(report(performance=0.914, accessibility=1, **{"best-practices": 0.96, "seo": 1}))
    assert found["scores"] == {"performance": 91, "accessibility": 100, "best-practices": 96, "seo": 100}
    assert found["failed"] == ["best-practices-audit"] and found["metrics"]["total-blocking-time"] == "0.9\N{NO-BREAK SPACE}s"


def test_the_table_shows_scores_and_weights():
    judged = {"index, mobile": site.summary(report(performance=0.9, accessibility=1, **{"best-practices": 1, "seo": 1}))}
    results = {"date": "1 May 2030", "judged": judged, "judged_on": "2 May 2030", "weights": {"index": site.Weight(123_400, 456_700, 20)}}
    lines = site.table(results).splitlines()
    assert "Judged by Lighthouse on 2 May 2030:" in lines
    assert "| index, mobile | 90 | 100 | 100 | 100 | 0.9 s | 0.9 s | 0.9 s | 0.9 s |" in lines and "| index | 123 | 457 | 20 |" in lines
    assert "mobile" not in site.table({"date": "1 May 2030", "judged": {}, "weights": {}})


def test_the_judgement_of_an_earlier_time_stays_when_pages_are_only_weighed(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "RESULTS", tmp_path / "site.json")
    monkeypatch.setattr(site, "weigh_all", lambda address, pages: {name: site.Weight(1, 2, 3) for name in pages})
    judged = {"index, mobile": site.summary(report(performance=0.9, accessibility=1, **{"best-practices": 1, "seo": 1}))}
    monkeypatch.setattr(site, "judge_all", lambda *_: judged)
    (tmp_path / "index.html").write_text("text")
    command = ["--site", str(tmp_path)]
    site.main([*command, "--lighthouse", "modules", "--dry"])
    site.main([*command, "--lighthouse", "modules", "--pages", "index"])
    assert not site.RESULTS.exists()
    site.main([*command, "--lighthouse", "modules"])
    first = json.loads(site.RESULTS.read_text())
    monkeypatch.setattr(site, "judge_all", lambda *_: pytest.fail("judged without Lighthouse"))
    site.main(command)
    assert json.loads(site.RESULTS.read_text()) == first and first["judged"] == judged and list(first["weights"]) == ["index"]


def test_a_folder_without_pages_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        site.main(["--site", str(tmp_path)])
    assert "holds no pages; build the book first (make book)" in capsys.readouterr().err


@pytest.mark.skipif(not site.RESULTS.exists(), reason="the built book was not measured")
def test_the_table_that_is_shown_is_made_of_the_results():
    assert site.RESULTS.with_suffix(".md").read_text("utf8") == site.table(json.loads(Path(site.RESULTS).read_text("utf8")))
