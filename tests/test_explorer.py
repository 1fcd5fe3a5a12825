"""The latent explorer in a browser: what it decodes, draws and finds is what the library does, and every panel works by keyboard.

A small page of the panels alone is served, with the pretrained model; `tests/test_browser.py` opens the page of the built book. The tests
are skipped if playwright (extra ``browser``) or Chromium is missing.
"""

import dataclasses
import inspect
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.site import served
from glo_lib.graph.backend import tf
from glo_lib.graph.session import open_session
from glo_lib.images.pixels import to_bytes, to_floats
from glo_lib.inference import PRIORS, encode, interpolate, load
from glo_lib.inference.directions import Attributes
from glo_lib.inference.encoding import build_search
from glo_lib.inference.model import TrainedModel
from glo_lib.inference.neighbours import nearest_codes
from glo_lib.inference.priors import fit_prior
from glo_lib.inference.priors.neighbours import move_codes
from glo_lib.inference.variables import from_arrays
from glo_lib.inference.web import export_run_for_web, export_web, read_web
from glo_lib.runs.packed import read_packed
from tests.test_browser import browser, opened  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[1]
RAW_HTML = re.compile(r"```\{raw\} html\n(.*?)```", re.DOTALL)
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Explorer</title>
<link rel="stylesheet" href="explorer/explorer.css">
<script defer src="explorer/codes.js"></script>
<script defer src="explorer/explorer.js"></script></head><body><main>%s</main></body></html>"""
ASK = """() => {
  const worker = new Worker('explorer/worker.js'), open = {};
  let number = 0;
  worker.onmessage = ({data}) => {
    if (data.progress) return;
    const [resolve, reject] = open[data.id];
    if (data.error) reject(new Error(data.error)); else resolve(data.result);
  };
  window.ask = (task, given = {}) => new Promise((resolve, reject) => {
    open[number] = [resolve, reject];
    worker.postMessage({id: number++, task, ...given});
  });
  return window.ask('load', {url: new URL('explorer/model/', location).href}).then(({simd}) => simd);
}"""

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("explorer")
    shutil.copytree(ROOT / "book/extra/explorer", folder / "explorer")
    export_run_for_web("pretrained", folder / "explorer/model")
    panels = RAW_HTML.findall((ROOT / "book/explorer.md").read_text("utf8"))
    (folder / "index.html").write_text(PAGE % "".join(panels))
    (folder / "favicon.ico").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def address(site):
    with served(site) as address:
        yield address


@pytest.fixture(scope="module")
def model():
    return load("pretrained")


@pytest.fixture(scope="module")
def worker(browser, address):  # noqa: F811
    """A page with a worker that has loaded the model; ``ask`` is a function of the page."""
    with opened(browser) as page:
        page.goto(address + "index.html")
        page.evaluate(ASK)
        yield page


@pytest.fixture
def started(browser, address):  # noqa: F811
    """The page of all panels, started by keyboard; scripts must not fail, and nothing may be requested from elsewhere."""
    with opened(browser, reduced_motion="reduce") as page:
        page.set_default_timeout(20_000)
        problems = []
        page.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request", lambda request: problems.append(request.url) if not request.url.startswith((address, "blob:", "data:")) else None
        )
        page.goto(address + "index.html")
        page.get_by_role("button", name="Start the explorer").press("Enter")
        page.get_by_text("Ready.").wait_for()
        yield page
        assert problems == []


def decode(page, codes, as_it_is=False):
    given = {"codes": codes.ravel().tolist(), "asItIs": as_it_is}
    pixels = page.evaluate(
        "async ({codes, asItIs}) => Array.from((await ask('decode', {codes: Float32Array.from(codes), asItIs})).pixels)", given
    )
    size = int(np.sqrt(len(pixels) / len(codes) / 4))
    return np.array(pixels, np.uint8).reshape(len(codes), size, size, 4)[..., :3]


def test_a_browser_decodes_what_the_library_decodes(worker, model):
    codes = np.concatenate([model.codes[:16], fit_prior("full", model.codes, "sphere").sample(16)])
    differences = np.abs(decode(worker, codes).astype(int) - to_bytes(model.decode(codes)))
    assert differences.max() <= 2 and differences.mean() < 0.1
    longer = 2.5 * codes[:4]
    assert np.abs(decode(worker, longer, as_it_is=True).astype(int) - to_bytes(model.decode(longer, project=False))).max() <= 2
    np.testing.assert_array_equal(decode(worker, longer), decode(worker, codes[:4]))


def test_a_browser_finds_the_nearest_codes(worker, model):
    codes = fit_prior("full", model.codes, "sphere").sample(3)
    index, distance = nearest_codes(codes, model.codes, 4)
    for code, numbers, distances in zip(codes, index, distance, strict=True):
        found = worker.evaluate("async (code) => ask('nearest', {code: Float32Array.from(code), k: 4})", code.tolist())
        assert found["numbers"] == numbers.tolist()
        np.testing.assert_allclose(found["angles"], np.degrees(2 * np.arcsin(distances / 2)), atol=0.1)


@pytest.mark.parametrize("prior", PRIORS)
def test_a_browser_draws_codes_from_the_same_distributions(worker, model, prior):
    drawn = np.array(
        worker.evaluate("async (prior) => Array.from(await ask('sample', {prior, n: 1500, seed: 1}))", prior), np.float32
    ).reshape(-1, model.codes.shape[1])
    expected = fit_prior(prior, model.codes, "sphere").sample(1500) if prior not in ("imle", "flow") else None
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, atol=1e-3)
    if expected is None:  # these are stored, so every one is among them
        stored = read_web_samples(model, prior)
        assert nearest_codes(drawn, stored, 1)[1].max() < 0.01 and len(np.unique(drawn[:, 0])) > 400
        return
    spread = expected.std(axis=0)
    np.testing.assert_allclose((drawn.mean(axis=0) - expected.mean(axis=0)) / spread, 0, atol=0.2)
    np.testing.assert_allclose((np.cov(drawn.T) - np.cov(expected.T)) / np.outer(spread, spread), 0, atol=0.25)
    near = [np.median(nearest_codes(codes, model.codes, 1)[1]) for codes in (drawn, expected)]
    assert near[0] == pytest.approx(near[1], rel=0.12)  # medians of 1,500 samples of one prior differ by up to 8 %


def read_web_samples(model, prior):
    return model.project(read_packed().samples[prior])


def test_the_gradient_of_the_browser_is_that_of_the_library(worker, model, site):
    page = read_web(site / "explorer/model")
    image, starts = page.arrays["examples"][0], model.codes[[3, 40]]
    with tf.Graph().as_default(), open_session() as session:
        search = build_search(model, 2)
        session.run(search.start)
        feed = {search.images: to_floats(np.stack([image, image])), search.mask: np.ones((2, 64, 64, 1)), search.codes: starts}
        errors, gradient = session.run([search.errors, search.gradient], feed)
    found = worker.evaluate(
        """async ({pixels, codes}) => {
          const {errors, gradient} = await ask('gradient', {pixels: Uint8Array.from(pixels), codes: Float32Array.from(codes)});
          return {errors, gradient: Array.from(gradient)};
        }""",
        {"pixels": image.ravel().tolist(), "codes": starts.ravel().tolist()},
    )
    np.testing.assert_allclose(found["errors"], errors, rtol=2e-3)
    expected, slopes = gradient, np.array(found["gradient"]).reshape(gradient.shape)
    cosine = (slopes * expected).sum(axis=1) / np.linalg.norm(slopes, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.999
    np.testing.assert_allclose(np.linalg.norm(slopes, axis=1), np.linalg.norm(expected, axis=1), rtol=0.01)


def test_the_search_of_the_browser_ends_as_well_as_that_of_the_library(worker, model, site):
    images = read_web(site / "explorer/model").arrays["examples"]
    errors = encode(model, images, restarts=4, steps=150).errors
    for image, error in zip(images, errors, strict=True):
        found = worker.evaluate("async (pixels) => ask('encode', {pixels: Uint8Array.from(pixels)})", image.ravel().tolist())
        assert found["error"] < 1.1 * error, "at most 0.4 dB worse"
        assert found["start"] == 0 and 25 < 10 * np.log10(4 / found["error"]) < 34, "as the page says"


def test_a_search_that_fails_leaves_no_tensor_behind(worker):
    (thread,) = worker.workers
    count = "() => tf.memory().numTensors"
    before = thread.evaluate(count)
    thread.evaluate("() => { globalThis.kept = adam; adam = () => { throw new Error('broken'); }; }")
    failed = "ask('encode', {pixels: new Uint8Array(64 * 64 * 3)}).catch(({message}) => message)"
    assert worker.evaluate(failed) == "broken"
    thread.evaluate("() => { adam = kept; }")
    assert thread.evaluate(count) == before


@pytest.mark.parametrize(
    ("start", "end"), [([1, 0.2, 0], [0, 0.5, 2]), ([0.6, -0.8, 0.1], [-1.2, 1.6, -0.2]), ([2], [-1]), ([0, 0], [1, 0])]
)
def test_both_ways_between_two_codes_are_those_of_the_library(worker, start, end):
    for way, path in (("onLine", "linear"), ("onCircle", "great_circle")):
        found = worker.evaluate(
            """([way, start, end]) => {
              const codes = [start, end].map((code) => Float32Array.from(code));
              return [0, 1, 2, 3, 4, 5].map((i) => Array.from(glo[way](...codes, i / 5)));
            }""",
            [way, start, end],
        )
        expected = interpolate(np.array(start, np.float32), np.array(end, np.float32), 6, path)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("projection", ["sphere", "ball", "none"])
def test_a_code_moves_towards_another_as_in_the_library(worker, projection):
    code, targets = np.array([0.6, 0.8], np.float32), np.array([[1, 0], [-0.6, -0.8], [0.6, 0.8]], np.float32)
    found = worker.evaluate(
        """([projection, code, targets]) => targets.map((target) =>
          Array.from(glo.move(Float32Array.from(code), Float32Array.from(target), 0.3, projection)))""",
        [projection, code.tolist(), targets.tolist()],
    )
    expected = move_codes(np.stack([code] * 3), targets, np.full((3, 1), 0.3), projection)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_text_of_the_page_describes_this_model(model, site):
    def degrees(codes, rank=0):
        return np.median(np.degrees(2 * np.arcsin(nearest_codes(codes, model.codes, rank + 1)[1][:, rank] / 2)))

    samples = {prior: fit_prior(prior, model.codes, "sphere").sample(300) for prior in ("mixture", "neighbours", "kernel")}
    assert 45 < degrees(model.codes[:500], rank=1) < 55 and 45 < degrees(samples["mixture"]) < 57
    assert 10 < degrees(samples["neighbours"]) < 20 and 25 < degrees(samples["kernel"]) < 35
    angles = np.degrees(np.arccos(np.sum(model.codes[:8000] * model.codes[8000:16000], axis=1)))
    assert 85 < np.median(angles) < 92
    page = read_web(site / "explorer/model")
    names = [entry["name"] for entry in page.description["directions"]["attributes"]]
    places = (page.arrays["codes"] - page.arrays["codes/mean"]) @ page.arrays["principal/directions"].T
    follows = {
        name: np.abs([np.corrcoef(places[:, axis], page.arrays[f"attributes/{number}"])[0, 1] for axis in range(10)])
        for number, name in enumerate(names)
    }
    assert follows["background"].argmax() == 0 and follows["skin"].argmax() == 1 and follows["turn"].argmax() == 2
    assert min(follows["background"][0], follows["skin"][1], follows["turn"][2]) > 0.6
    judged = page.description["provenance"]["judgement"]
    distance = {prior: found["kernel_distance"] for prior, found in judged["efficientnet_lite0"]["samples"].items()}
    best = min(distance[prior] for prior in ("unit Gaussian", "diagonal Gaussian", "full Gaussian", "Gaussian mixture"))
    assert max(distance["neighbours"], distance["kernel density"]) < best
    assert all(
        max(found["samples"], key=lambda prior: found["samples"][prior]["kernel_distance"]) == "unit Gaussian"
        for found in (judged["efficientnet_lite0"], judged["face_recogniser"])
    )
    assert follows["smile"].max() < 0.2 and max(follows["glasses"][:2].max(), follows["smile"][:2].max()) < 0.1 < follows["hair"][:2].min()


def until(page, holds):
    """Wait until something holds, for instance until a face that the worker has decoded is painted."""
    for _ in range(200):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError(inspect.getsource(holds))


def status(page):
    return page.locator(".ex-status").inner_text()


def shown(page):
    """The code of the face in the bar, once it is painted, and its pixels."""
    page.wait_for_function("(({code, wanted}) => code === wanted)(document.querySelector('.ex-bar canvas').dataset)")
    return page.locator(".ex-bar canvas").evaluate("canvas => [canvas.dataset.code, canvas.toDataURL()]")


def test_nothing_is_loaded_before_the_reader_starts(browser, address):  # noqa: F811
    with opened(browser) as page:
        requests = []
        page.on("request", lambda request: requests.append(request.url.removeprefix(address)))
        page.goto(address + "index.html", wait_until="networkidle")
        assert {name for name in requests if name.startswith("explorer/")} == {
            "explorer/explorer.css",
            "explorer/codes.js",
            "explorer/explorer.js",
        }


def test_without_scripts_the_page_says_what_is_missing(browser, address):  # noqa: F811
    with opened(browser, java_script_enabled=False) as page:
        page.goto(address + "index.html")
        assert "need JavaScript" in page.locator("[data-model]").inner_text()


def test_a_page_that_was_opened_as_a_file_says_what_to_do(browser, site):  # noqa: F811
    with opened(browser) as page:
        page.goto((site / "index.html").as_uri())
        page.get_by_text("The explorer needs a web server").wait_for()
        assert "python -m http.server --directory _build/html" in page.locator("[data-model]").inner_text()
        assert page.get_by_role("button").count() == 0


def test_a_model_that_cannot_be_loaded_is_reported_and_can_be_tried_again(browser, address):  # noqa: F811
    with opened(browser) as page:
        page.goto(address + "index.html")
        place = page.locator("[data-model]")
        place.evaluate("element => element.dataset.model = 'nowhere/'")
        start = page.get_by_role("button", name="Start the explorer")
        start.press("Enter")
        page.get_by_text(re.compile(r"^The explorer cannot start here: /explorer/nowhere/\w+\.\w+ cannot be loaded \(404\)")).wait_for()
        assert start.evaluate("button => button === document.activeElement")
        place.evaluate("element => element.dataset.model = 'model/'")
        page.keyboard.press("Enter")
        page.get_by_text("Ready.").wait_for()
        assert len(page.workers) == 1, "the worker that failed has ended"
        assert place.evaluate("bar => bar === document.activeElement"), "the button is gone, and the focus is not lost with it"


def test_arrays_of_another_version_are_refused(browser, address, site):  # noqa: F811
    arrays = bytearray((site / "explorer/model/arrays.bin").read_bytes())
    arrays[1000] ^= 1
    with opened(browser) as page:
        digest = read_web(site / "explorer/model").description["sha256"]
        page.route(f"**/arrays.bin?v={digest[:16]}", lambda route: route.fulfill(body=bytes(arrays)))
        page.goto(address + "index.html")
        page.get_by_role("button", name="Start the explorer").press("Enter")
        page.get_by_text("arrays.bin and model.json are of different versions").wait_for()


def test_a_model_without_sphere_and_without_the_attributes_of_drawn_faces_is_shown(browser, address, site, model):  # noqa: F811
    config, codes = dataclasses.replace(model.config, projection="none"), 2 * model.codes[:300]
    table = Attributes(("glasses", "height"), np.stack([np.arange(300) % 2, np.arange(300)], axis=1))
    export_web(TrainedModel(config, codes, from_arrays(model.variables)), site / "explorer/other", table, stored_samples={})
    with opened(browser, reduced_motion="reduce") as page:
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address + "index.html")
        page.locator("[data-model]").evaluate("element => element.dataset.model = 'other/'")
        page.get_by_role("button", name="Start the explorer").click()
        page.get_by_text("Ready.").wait_for()
        shown(page)
        page.get_by_role("combobox", name="Prior").select_option("neighbours")
        page.get_by_role("button", name=re.compile("^Sample 12, ")).wait_for()
        result = page.get_by_role("button", name="The result.").locator("canvas")
        page.wait_for_function("canvas => canvas.getContext('2d').getImageData(0, 0, 1, 1).data[3]", arg=result.element_handle())
        assert page.get_by_text("A step is from absent to present for glasses, and two standard deviations for the others.").count()
        assert not problems


def test_sliders_move_the_current_face_and_return_to_it(started):
    before = shown(started)
    slider = started.get_by_role("slider", name="glasses, in steps from absent to present")
    for _ in range(20):
        slider.press("ArrowRight")
    after = shown(started)
    assert before != after and slider.input_value() == "2" and slider.get_attribute("aria-valuetext") == "2.0"
    started.get_by_role("button", name="All sliders to zero").press("Enter")
    assert shown(started) == before and slider.input_value() == "0"
    assert started.get_by_role("slider", name="turn, in steps of two standard deviations").count() == 1


def test_one_line_of_the_page_speaks_at_the_start_and_once_for_a_series_of_changes(browser, address):  # noqa: F811
    with opened(browser) as page:
        page.goto(address + "index.html")
        assert page.get_by_role("status").count() == 1
        page.evaluate("""() => {
          const line = document.querySelector('[role=status]');
          window.heard = [];
          new MutationObserver(() => heard.push(line.textContent)).observe(line, {childList: true, characterData: true, subtree: true});
        }""")
        page.get_by_role("button", name="Start the explorer").press("Enter")
        page.get_by_text("Ready.").wait_for()
        for name in ("smile, in steps", "Norm of the code"):
            for _ in range(3):
                page.get_by_role("slider", name=name).press("ArrowRight")
        shown(page)
        heard = [
            "The model is loading.",
            "Ready. This is a training face, decoded from its code.",
            "Moved along smile.",
            "Decoded without projection.",
        ]
        assert page.evaluate("heard") == heard
        assert page.locator("[role=status], [role=alert], [aria-live], output, progress").count() == 1


def test_a_link_holds_exactly_what_is_seen(started, browser, address):  # noqa: F811
    started.get_by_role("slider", name="hat, in steps").press("End")
    started.get_by_role("slider", name="Norm of the code").press("End")
    seen = shown(started)
    started.get_by_role("button", name="Copy a link").press("Enter")
    started.wait_for_function("location.hash.includes('code=')")
    link = started.evaluate("location.href")
    with opened(browser) as page:
        page.goto(link)
        page.get_by_role("button", name="Start the explorer").click()
        page.get_by_text("The face of the link.").wait_for()
        assert shown(page) == seen
        page.get_by_role("button", name="Back to the sphere").press("Enter")
        old = f"{address}index.html#code={shown(page)[0]}"
        assert shown(page)[0] != seen[0]
        for wrong, problem in {
            re.sub("code=...", "code=", link): "The code in this link cannot be read; the link may be incomplete.",
            re.sub("model=....", "model=0000", link): "This link belongs to another model.",
        }.items():
            page.goto(wrong)
            page.get_by_text(f"{problem} The face stays as it is.").wait_for()
        page.goto(old)  # of an earlier version, which named no model
        page.get_by_text("The face of the link.").wait_for()
        page.goto(wrong)
        page.reload()
        page.get_by_role("button", name="Start the explorer").click()
        page.get_by_text("This link belongs to another model. This is a training face instead.").wait_for()


def test_undo_returns_to_what_was_shown_before(started):
    undo, glasses = started.get_by_role("button", name="Undo"), started.get_by_role("slider", name="glasses, in steps")
    assert undo.get_attribute("aria-disabled") == "true"
    first = shown(started)
    for _ in range(3):
        glasses.press("PageUp")
    with_glasses = shown(started)
    started.get_by_role("slider", name="Norm of the code").press("End")
    longer = shown(started)
    started.get_by_role("button", name="The mean code").press("Enter")
    ring = started.get_by_role("application")
    mean = shown(started)
    for key in ("ArrowLeft", "ArrowUp", "ArrowUp"):
        ring.press(key)
    assert len({face[0] for face in (first, with_glasses, longer, mean, shown(started))}) == 5
    for face in (mean, longer, with_glasses, first):
        undo.press("Enter")
        assert shown(started) == face
    assert undo.get_attribute("aria-disabled") == "true" and undo.evaluate("button => button === document.activeElement")
    undo.press("Enter")
    assert status(started) == "There is nothing to undo."


def test_every_prior_draws_faces_that_can_be_taken(started):
    choice = started.get_by_role("combobox", name="Prior")
    samples = started.get_by_role("button", name=re.compile(r"^Sample \d+, \d.*° from the nearest training face"))

    def labels():
        return samples.evaluate_all("buttons => buttons.map(button => button.ariaLabel)")

    def wait_for_others(before):
        until(started, lambda: len(labels()) == 12 and labels() != before)

    wait_for_others([])
    for prior in PRIORS:
        before = labels()
        choice.select_option(prior)
        wait_for_others(before)
        samples.first.press("Enter")
        assert status(started) == f"A sample of the {prior} prior."
    before = labels()
    at_first_change = started.evaluate_handle(
        """group => {
            const seen = [];
            const look = () => seen.push([...group.querySelectorAll("button")].map(button => button.ariaLabel));
            new MutationObserver(look).observe(group, { attributes: true, attributeFilter: ["aria-label"], subtree: true });
            return seen;
        }""",
        started.get_by_role("group", name="Samples").element_handle(),
    )
    started.get_by_role("button", name="Draw 12 more").press("Enter")
    wait_for_others(before)
    assert at_first_change.evaluate("seen => seen[0]") == labels(), "some faces are named before the others have changed"


def test_faces_are_added_by_key_by_press_and_by_drag(started):
    started.locator("[data-panel=arithmetic]").scroll_into_view_if_needed()
    slot = {letter: started.get_by_role("button", name=f"Place {letter}.") for letter in "ABC"}
    faces = started.get_by_role("group", name="Training faces to choose from").get_by_role("button")

    def picture(button):
        return button.locator("canvas").evaluate("canvas => canvas.toDataURL()")

    def result():
        return picture(started.get_by_role("button", name="The result."))

    empty = started.evaluate("""() => {
        const [canvas] = document.querySelectorAll(".ex-face canvas");
        return Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height }).toDataURL();
    }""")
    until(started, lambda: result() != empty)
    before = result()
    faces.nth(0).press("Enter")
    assert faces.nth(0).get_attribute("aria-pressed") == "true" and "is chosen. Press A, B or C." in status(started)
    slot["A"].press("Enter")
    assert faces.nth(0).get_attribute("aria-pressed") == "false" and status(started).endswith("is now A.")
    start, end = faces.nth(5).bounding_box(), slot["C"].bounding_box()
    started.mouse.move(start["x"] + 20, start["y"] + 20)
    started.mouse.down()
    started.mouse.move(end["x"] + 30, end["y"] + 30, steps=4)
    started.mouse.up()
    assert status(started).endswith("is now C.") and faces.nth(5).get_attribute("aria-pressed") == "false"
    slot["B"].click()
    assert status(started) == "The current face is now B."
    faces.nth(5).press("Enter")
    assert faces.nth(5).get_attribute("aria-pressed") == "true", "a face that was dragged can be chosen by key"
    until(started, lambda: picture(slot["A"]) == picture(faces.nth(0)) and picture(slot["C"]) == picture(faces.nth(5)))
    until(started, lambda: result() != before)


def place_of_ring(page):
    name = page.get_by_role("application", name=re.compile(r"^Map of the codes\.")).get_attribute("aria-label")
    return re.search(r"at (-?[\d.]+) to the right and (-?[\d.]+) up", name).groups()


def test_the_ring_of_the_map_moves_by_key_and_by_press(started):
    ring, before = started.get_by_role("application"), place_of_ring(started)
    for _ in range(5):
        ring.press("Shift+ArrowRight")
    right, up = place_of_ring(started)
    assert float(right) > float(before[0]) + 0.5 and status(started) == f"At {right} to the right and {up} up."
    box = ring.bounding_box()
    ring.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    assert max(abs(float(value)) for value in place_of_ring(started)) < 0.6
    started.get_by_role("combobox", name="Colour by").select_option(label="hat")
    assert started.get_by_text("hat: from 0 (dark) to 1 (bright)").count()


def test_a_finger_that_scrolls_over_the_map_changes_nothing(browser, address):  # noqa: F811
    with opened(browser, has_touch=True) as page:
        page.goto(address + "index.html")
        page.get_by_role("button", name="Start the explorer").click()
        page.get_by_text("Ready.").wait_for()
        ring, before = page.get_by_role("application"), place_of_ring(page)
        ring.scroll_into_view_if_needed()
        box, height = ring.bounding_box(), page.evaluate("scrollY")
        chromium, x, y = page.context.new_cdp_session(page), box["x"] + 10, box["y"] + 300
        for kind, moves in (("touchStart", [0]), ("touchMove", range(15, 150, 15)), ("touchEnd", [None])):
            for moved in moves:
                points = [] if moved is None else [{"x": x, "y": y - moved}]
                chromium.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_function("height => scrollY > height + 50", arg=height)
        assert place_of_ring(page) == before
        ring.tap(position={"x": 10, "y": 300})
        assert place_of_ring(page) != before


def test_the_walk_takes_the_current_face_and_both_ways_meet_at_the_ends(started):
    walk = started.locator("[data-panel=walk]")
    started.get_by_role("button", name="Start of the walk.").press("Enter")
    share = started.get_by_role("slider", name="Share of the way")
    captions = walk.locator(".ex-pair figcaption")
    share.press("Home")
    until(started, lambda: [text.startswith("norm 1.00 before projection, 0.0° of") for text in captions.all_inner_texts()] == [True, True])
    share.press("End")
    for _ in range(70):
        share.press("ArrowLeft")

    def at_30_percent():
        line, circle = (
            map(float, re.match(r"norm ([\d.]+) before projection, ([\d.]+)° of ([\d.]+)°", text).groups())
            for text in captions.all_inner_texts()
        )
        (length, angle, _), (length_on_circle, angle_on_circle, whole) = line, circle
        return length < 1 == length_on_circle and angle < angle_on_circle == pytest.approx(0.3 * whole, abs=0.6)

    until(started, at_30_percent)
    assert walk.get_by_role("button", name="Play").count() == 0, "the reader asked for less motion"


def test_codes_leave_the_sphere_and_return(started):
    before = shown(started)
    length = started.get_by_role("slider", name="Norm of the code")
    length.press("End")
    started.get_by_text("Norm 3.00; ").wait_for()
    assert shown(started) != before
    length.press("Home")
    started.get_by_text("Norm 0.00; a code of norm 0 has no direction, so no training face is nearest to it").wait_for()
    neighbours = started.get_by_role("group", name="The nearest training faces")
    assert not neighbours.is_visible()
    started.get_by_role("button", name="Back to the sphere").press("Enter")
    assert shown(started) == before
    neighbours.wait_for()
    started.wait_for_function("slider => slider.value === '1'", arg=length.element_handle())
    length.press("Home")
    started.get_by_role("button", name="Undo").press("Enter")
    assert shown(started) == before


def test_a_painted_and_an_uploaded_image_are_encoded(started, tmp_path, site):
    example = read_web(site / "explorer/model").arrays["examples"][1]
    Image.fromarray(example).resize((300, 200)).save(tmp_path / "face.png")
    panel = started.locator("[data-panel=encode]")
    panel.get_by_label("Your own image").set_input_files(tmp_path / "face.png")
    started.get_by_text("It has not left this page").wait_for()
    easel = panel.get_by_role("img", name="The image whose code is searched for")
    easel.scroll_into_view_if_needed()
    before = easel.evaluate("canvas => canvas.toDataURL()")
    box = easel.bounding_box()
    started.mouse.move(box["x"] + 20, box["y"] + 20)
    started.mouse.down()
    started.mouse.move(box["x"] + 60, box["y"] + 20)
    started.mouse.up()
    assert easel.evaluate("canvas => canvas.toDataURL()") != before
    panel.get_by_role("button", name="Unseen face 2").press("Enter")
    panel.get_by_role("button", name="Find its code").press("Enter")
    report = panel.get_by_text(re.compile(r"Best of four starts: the one from .+, \d\d\.\d dB after \d+ steps"))
    report.wait_for()
    assert float(re.search(r", ([\d.]+) dB after", report.inner_text())[1]) > 25
    panel.get_by_role("button", name="Take this face").press("Enter")
    assert status(started) == "The face that was found is now the current one."
    assert panel.get_by_label("Your own image").input_value() == "", "the same file can be chosen again"
    (tmp_path / "text.png").write_text("no image")
    panel.get_by_label("Your own image").set_input_files(tmp_path / "text.png")
    started.get_by_text("not an image that your browser can read").wait_for()


def test_the_last_image_that_is_uploaded_covers_those_before_it(started, tmp_path):
    started.evaluate("""() => {
      const decode = createImageBitmap;
      window.numClosed = 0;
      createImageBitmap = async (file) => {
        if (file.name === 'slow.png') await new Promise((go) => { window.go = go; });
        const image = await decode(file), close = image.close.bind(image);
        image.close = () => { window.numClosed++; close(); };
        return image;
      };
    }""")
    Image.new("RGB", (64, 64), (200, 0, 0)).save(tmp_path / "slow.png")
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    upload = started.get_by_label("Your own image")
    for name in ("slow.png", "clear.png"):
        upload.set_input_files(tmp_path / name)
    started.get_by_text("The middle square of clear.png").wait_for()
    started.evaluate("go()")
    started.wait_for_function("numClosed === 2")
    pixels = "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 64, 64).data)"
    easel = started.get_by_role("img", name="The image whose code is searched for")
    assert set(easel.evaluate(pixels)) == {255}, "white shows through"


def test_everything_fits_on_a_small_phone(started):
    started.set_viewport_size({"width": 360, "height": 740})
    started.wait_for_timeout(300)
    assert started.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_bar_stays_in_view_only_where_there_is_room(started):
    for width, height, stays in ((1280, 800, True), (360, 740, True), (844, 390, False), (320, 256, False)):
        started.set_viewport_size({"width": width, "height": height})
        started.locator("[data-panel=map]").scroll_into_view_if_needed()
        assert (started.locator(".ex-bar").bounding_box()["y"] >= 0) is stays, (width, height)
