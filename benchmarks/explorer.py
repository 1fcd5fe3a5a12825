"""Measure how fast the latent explorer is in a browser: faces per second, one after the other, and the search for the code of an image.

    python -m benchmarks.explorer                 the pretrained model, in the Chromium that is there
    python -m benchmarks.explorer --run my_run    the model of another run

It uses the files that the book's page uses, WebAssembly on the processor included, and the picture is painted each time.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.site import served
from glo_lib.inference.web import export_run_for_web, read_web

SCRIPTS = Path(__file__).parents[1] / "book/extra/explorer"
FACES, SEARCHES = 300, 6
MEASURE = """async ({faces, images}) => {
  const worker = new Worker('explorer/worker.js'), canvas = document.createElement('canvas'), context = canvas.getContext('2d');
  document.body.append(canvas);
  const ask = (task, given = {}) => new Promise((resolve, reject) => {
    worker.onmessage = ({data}) => { if ('error' in data) reject(new Error(data.error)); else if ('result' in data) resolve(data.result); };
    worker.postMessage({id: 0, task, ...given});
  });
  const began = performance.now();
  const {description, codes, simd} = await ask('load', {url: new URL('explorer/model/', location).href});
  const started = performance.now(), size = description.image_size, dims = description.num_dims, times = [], searches = [];
  canvas.width = canvas.height = size;
  for (let i = 0; i < faces; i++) {
    const before = performance.now();
    const {pixels} = await ask('decode', {codes: codes.slice(i * dims, (i + 1) * dims)});
    context.putImageData(new ImageData(pixels, size, size), 0, 0);
    times.push(performance.now() - before);
  }
  for (const pixels of images) {
    const before = performance.now();
    await ask('encode', {pixels: Uint8Array.from(pixels)});
    searches.push(performance.now() - before);
  }
  return {start: started - began, times, searches, simd};
}"""


def chromium() -> str:
    """Return the path of the Chromium that is there."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"


def measure(run: str) -> str:
    """Return a line of results."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        shutil.copytree(SCRIPTS, Path(folder, "explorer"))
        export_run_for_web(run, Path(folder, "explorer/model"))
        Path(folder, "index.html").write_text("<!doctype html><title>Explorer</title>")
        examples = read_web(Path(folder, "explorer/model")).arrays.get("examples", [])
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        with served(Path(folder)) as address:
            page = browser.new_page()
            page.goto(address)
            given = {"faces": FACES, "images": [image.ravel().tolist() for image in examples[:SEARCHES]]}
            found = page.evaluate(MEASURE, given)
        browser.close()
    one, slow = statistics.median(found["times"]), statistics.quantiles(found["times"], n=20)[-1]
    speed = f"{1000 / one:.0f} faces/s (one face {one:.1f} ms, 19 of 20 within {slow:.1f} ms)"
    line = f"{'SIMD' if found['simd'] else 'no SIMD'}; start {found['start'] / 1000:.1f} s; {speed}"
    return line + (f"; search {statistics.median(found['searches']) / 1000:.1f} s" if found["searches"] else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.explorer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", default="pretrained", metavar="RUN", help="folder of a run (default: the model of the library)")
    print(measure(parser.parse_args(arguments).run))


if __name__ == "__main__":
    main()
