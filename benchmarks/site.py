"""The built book as a browser loads it: how many bytes each page takes, and how Lighthouse judges some of them.

    make book browser
    npm install --prefix SOMEWHERE lighthouse@12.2.3
    python -m benchmarks.site --lighthouse SOMEWHERE          weighs all pages, and judges some; half an hour
    python -m benchmarks.site                                 weighs all pages; some minutes

The pages are served from this machine and compressed, as static hosts serve them. A page is weighed twice: as it opens, and after it has
been scrolled to its end, when all of its pictures have come. Results go to site.json and site.md. Without --lighthouse the judgement that
is there stays, with its date; with --pages the results are only printed.
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "site.json"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
COMPRESSED = {".html", ".css", ".js", ".json", ".svg", ".xml", ".txt", ".wasm", ".mjs"}
JUDGED = ("index", "decoder", "inference", "explorer")  # the first page, two chapters with many figures and formulas, the explorer
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
FORMS = {"mobile": [], "desktop": ["--preset=desktop"]}
PATIENCE = 600  # seconds for one page in Lighthouse, and for a page to load


class Weight(NamedTuple):
    """What a page takes, in bytes as they are sent.

    Attributes:
        opened: when it opens, without the pictures further down.
        whole: after it has been scrolled to its end.
        requests: number of files of the whole.
    """

    opened: int
    whole: int
    requests: int


class CompressingHandler(SimpleHTTPRequestHandler):
    """Serves files as static hosts do: text compressed, connections kept open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a file, compressed if it is text and the client accepts it."""
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        squeeze = path.suffix in COMPRESSED and "gzip" in self.headers.get("Accept-Encoding", "")
        content = _squeezed(path, path.stat().st_mtime_ns) if squeeze else path.read_bytes()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "max-age=600")
        if squeeze:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Write no line for each request."""


@cache
def _squeezed(path: Path, changed: int) -> bytes:
    return gzip.compress(path.read_bytes(), 6)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder from this machine, and yield its address with a slash at the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(CompressingHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def pages_of(toc: dict[str, Any]) -> list[str]:
    """Return the names of all pages in a table of contents, in its order."""
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *(entry["file"] for chapter in chapters for entry in (chapter, *chapter.get("sections", [])))]


def weigh(browser: Any, address: str) -> Weight:
    """Return what a page takes in a browser whose cache is empty."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        session, sizes = context.new_cdp_session(page), []
        session.send("Network.enable")
        session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        page.goto(address, wait_until="networkidle", timeout=1000 * PATIENCE)
        opened = sum(sizes)
        page.evaluate(SCROLL)
        page.wait_for_load_state("networkidle")
        return Weight(int(opened), int(sum(sizes)), len(sizes))


# Folded texts are opened, because their pictures are part of the page. A picture that does not come is a matter for the tests.
SCROLL = """async () => {
  document.querySelectorAll('details').forEach(details => { details.open = true; });
  for (let y = 0; y < document.body.scrollHeight; y += 500) { window.scrollTo(0, y); await new Promise(done => setTimeout(done, 30)); }
  const waiting = [...document.images].filter(image => !image.complete).map(image => new Promise(done => { image.onload = done; }));
  await Promise.race([Promise.all(waiting), new Promise(done => setTimeout(done, 5000))]);
}"""


def weigh_all(address: str, pages: Sequence[str]) -> dict[str, Weight]:
    """Weigh the pages in Chromium."""
    from playwright.sync_api import sync_playwright  # extra "browser"

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        return {name: weigh(browser, f"{address}{name}.html") for name in pages}


def judge(address: str, modules: Path, options: Sequence[str]) -> dict[str, Any]:
    """Return Lighthouse's scores of a page, 0 to 100, its metrics as text, and the audits that took points.

    Args:
        address: of the page.
        modules: folder in which npm installed Lighthouse.
        options: of its command line.
    """
    command = ["node", str(modules / "node_modules/lighthouse/cli/index.js"), address, "--output=json", "--quiet", *options]
    command += [f"--only-categories={','.join(CATEGORIES)}", "--chrome-flags=--headless=new --no-sandbox", "--max-wait-for-load=120000"]
    done = subprocess.run(
        command, env={**os.environ, "CHROME_PATH": CHROMIUM}, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return summary(json.loads(done.stdout))


METRICS = ("first-contentful-paint", "largest-contentful-paint", "total-blocking-time", "cumulative-layout-shift", "speed-index")


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Return scores, metrics and failed audits of a report of Lighthouse."""
    audits = report["audits"]
    counted = {name: [ref["id"] for ref in report["categories"][name]["auditRefs"] if ref["weight"]] for name in CATEGORIES}
    failed = [audit for name in CATEGORIES[1:] for audit in counted[name] if audits[audit]["score"] not in (None, 1)]
    return {
        "scores": {name: round(100 * report["categories"][name]["score"]) for name in CATEGORIES},
        "metrics": {name: audits[name].get("displayValue", "") for name in METRICS},
        "failed": failed,
    }


def judge_all(address: str, pages: Sequence[str], modules: Path) -> dict[str, dict[str, Any]]:
    """Judge each page as a telephone and as a desktop computer see it."""
    return {f"{name}, {form}": judge(f"{address}{name}.html", modules, options) for name in pages for form, options in FORMS.items()}


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [f"Weighed on {results['date']} with the pages compressed by gzip. Sizes are those of all files of a page, in kilobytes."]
    if results["judged"]:
        lines += ["", f"Judged by Lighthouse on {results['judged_on']}:"]
        lines += ["", f"| page | {' | '.join(CATEGORIES)} | first paint | largest paint | blocked | shift |", "|---|" + "---:|" * 8]
        lines += [_row(name, found) for name, found in results["judged"].items()]
    lines += ["", "| page | as it opens | scrolled to its end | files |", "|---|---:|---:|---:|"]
    lines += [
        f"| {name} | {opened / 1000:.0f} | {whole / 1000:.0f} | {count} |" for name, (opened, whole, count) in results["weights"].items()
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, found: dict[str, Any]) -> str:
    shown = [found["metrics"][metric].replace("\N{NO-BREAK SPACE}", " ") for metric in METRICS[:4]]
    return f"| {name} | {' | '.join(str(found['scores'][category]) for category in CATEGORIES)} | {' | '.join(shown)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the built book, print the table, and write it beside this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.site", description=__doc__.partition("\n")[0])
    parser.add_argument("--site", type=Path, default=ROOT / "_build/html", help="folder of the built pages")
    parser.add_argument("--lighthouse", type=Path, help="folder in which npm installed Lighthouse; without it no page is judged")
    parser.add_argument(
        "--pages", nargs="+", help="names of the pages to judge and to weigh, without writing a file; by default all are weighed"
    )
    parser.add_argument("--dry", action="store_true", help="print the table, and write no file")
    asked = parser.parse_args(arguments)
    pages = asked.pages or [name for name in pages_of(yaml.safe_load((ROOT / "book/_toc.yml").read_text())) if _built(asked.site, name)]
    if not pages:
        parser.error(f"{asked.site} holds no pages; build the book first (make book), or name its folder with --site")
    with served(asked.site) as address:
        judged = judge_all(address, [name for name in pages if asked.pages or name in JUDGED], asked.lighthouse) if asked.lighthouse else {}
        weights = weigh_all(address, pages)
    today = f"{date.today().day} {date.today():%B %Y}"
    results = {"date": today, "judged": judged, "judged_on": today, "weights": weights}
    if not judged and RESULTS.exists():
        earlier = json.loads(RESULTS.read_text("utf8"))
        results |= {name: earlier[name] for name in ("judged", "judged_on")}
    print(table(results))
    if not (asked.dry or asked.pages):
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf8")
        RESULTS.with_suffix(".md").write_text(table(results), "utf8")


def _built(site: Path, name: str) -> bool:
    return (site / f"{name}.html").is_file()


if __name__ == "__main__":
    main()
