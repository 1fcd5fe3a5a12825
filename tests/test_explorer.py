"""The latent explorer in a browser: what it decodes, draws and finds is what the library does, and every panel works by keyboard.

A small page of the panels alone is served, with the pretrained model; `tests/test_browser.py` opens the page of the built book. The tests
are skipped if playwright (extra ``browser``) or Chromium is missing.
"""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from benchmarks.site import served
from glo_lib.graph.backend import tf
from glo_lib.graph.session import open_session
from glo_lib.images.pixels import to_bytes, to_floats
from glo_lib.inference import PRIORS, encode, load
from glo_lib.inference.encoding import build_search
from glo_lib.inference.neighbours import nearest_codes
from glo_lib.inference.priors import fit_prior
from glo_lib.inference.web import export_run_for_web, read_web
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


def test_a_model_that_cannot_be_loaded_is_reported_and_can_be_tried_again(browser, address):  # noqa: F811
    with opened(browser) as page:
        page.goto(address + "index.html")
        place = page.locator("[data-model]")
        place.evaluate("element => element.dataset.model = 'nowhere/'")
        start = page.get_by_role("button", name="Start the explorer")
        start.click()
        page.get_by_text(re.compile(r"^The explorer cannot start here: /explorer/nowhere/\w+\.\w+ cannot be loaded \(404\)")).wait_for()
        place.evaluate("element => element.dataset.model = 'model/'")
        start.click()
        page.get_by_text("Ready.").wait_for()


def test_sliders_move_the_current_face_and_return_to_it(started):
    before = shown(started)
    slider = started.get_by_role("slider", name="glasses, in steps from absent to present")
    for _ in range(20):
        slider.press("ArrowRight")
    after = shown(started)
    assert before != after and slider.input_value() == "2"
    started.get_by_role("button", name="All sliders to zero").press("Enter")
    assert shown(started) == before and slider.input_value() == "0"


def test_a_link_holds_the_face(started, browser, address):  # noqa: F811
    started.get_by_role("button", name="A training face").press("Enter")
    code, _ = shown(started)
    started.get_by_role("button", name="Copy a link").press("Enter")
    started.wait_for_function("location.hash.includes('code=')")
    link = started.evaluate("location.href")
    assert link.endswith(f"#code={code}")
    with opened(browser) as page:
        page.goto(link)
        page.get_by_role("button", name="Start the explorer").click()
        page.get_by_text("The face of the link.").wait_for()
        assert shown(page)[0] == code
        page.goto(address + "index.html#code=broken")  # a hash alone loads nothing: the face stays
        assert shown(page)[0] == code


def test_undo_returns_to_the_face_before(started):
    first = shown(started)
    started.get_by_role("button", name="The mean code").press("Enter")
    assert shown(started) != first
    undo = started.get_by_role("button", name="Undo")
    undo.press("Enter")
    assert shown(started) == first and undo.is_disabled()


def test_every_prior_draws_faces_that_can_be_taken(started):
    choice = started.get_by_role("combobox", name="Prior")
    for prior in PRIORS:
        choice.select_option(prior)
        started.wait_for_timeout(400)
        sample = started.get_by_role("button", name=re.compile(r"^Sample 1, \d.*° from the nearest training face"))
        sample.press("Enter")
        assert status(started) == f"A sample of the {prior} prior."
    started.get_by_role("button", name="Draw 12 more").press("Enter")


def test_faces_are_added_by_key_by_press_and_by_drag(started):
    started.locator("[data-panel=arithmetic]").scroll_into_view_if_needed()
    slot = {letter: started.get_by_role("button", name=f"Place {letter}.") for letter in "ABC"}
    faces = started.get_by_role("group", name="Training faces to choose from").get_by_role("button")

    def picture(button):
        return button.locator("canvas").evaluate("canvas => canvas.toDataURL()")

    started.wait_for_timeout(500)
    result = picture(started.get_by_role("button", name="The result."))
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
    started.wait_for_timeout(500)
    assert picture(slot["A"]) == picture(faces.nth(0)) and picture(slot["C"]) == picture(faces.nth(5))
    assert picture(started.get_by_role("button", name="The result.")) != result


def test_the_ring_of_the_map_moves_by_key_and_by_press(started):
    ring = started.get_by_role("img", name=re.compile(r"^Map of the codes\."))

    def place():
        return [float(value) for value in re.findall(r"at (-?[\d.]+) to the right and (-?[\d.]+) up", ring.get_attribute("aria-label"))[0]]

    before = place()
    for _ in range(5):
        ring.press("Shift+ArrowRight")
    assert place()[0] > before[0] + 0.5 and status(started).startswith("At ")
    box = ring.bounding_box()
    ring.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    assert abs(place()[0]) < 0.6 and abs(place()[1]) < 0.6
    started.get_by_role("combobox", name="Colour by").select_option(label="hat")
    assert started.get_by_text("hat: from 0 (dark) to 1 (bright)").count()


def test_the_walk_takes_the_current_face_and_both_ways_meet_at_the_ends(started):
    walk = started.locator("[data-panel=walk]")
    started.get_by_role("button", name="Start of the walk.").press("Enter")
    share = started.get_by_role("slider", name="Share of the way")
    captions = walk.locator(".ex-pair figcaption")
    share.press("Home")
    started.wait_for_timeout(400)
    assert all(text.startswith("norm 1.00 before projection, 0.0° of") for text in captions.all_inner_texts())
    share.press("End")
    for _ in range(70):
        share.press("ArrowLeft")
    started.wait_for_timeout(400)
    line, circle = (
        re.match(r"norm ([\d.]+) before projection, ([\d.]+)° of ([\d.]+)°", text).groups() for text in captions.all_inner_texts()
    )
    assert float(line[0]) < 1 == float(circle[0]) and float(line[1]) < float(circle[1]) == pytest.approx(0.3 * float(circle[2]), abs=0.6)
    assert walk.get_by_role("button", name="Play").count() == 0, "the reader asked for less motion"


def test_codes_leave_the_sphere_and_return(started):
    before = shown(started)
    length = started.get_by_role("slider", name="Norm of the code")
    length.press("End")
    started.get_by_text("Norm 3.00; ").wait_for()
    assert shown(started) != before
    started.get_by_role("button", name="Back to the sphere").press("Enter")
    pictures = [read_picture(address) for _, address in (before, shown(started))]
    assert max(ImageChops.difference(*pictures).tobytes()) <= 1, "the code went through a multiplication and back"


def read_picture(address):
    """Return the picture that an address of data holds."""
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")


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
    (tmp_path / "text.png").write_text("no image")
    panel.get_by_label("Your own image").set_input_files(tmp_path / "text.png")
    started.get_by_text("not an image that your browser can read").wait_for()


def test_everything_fits_on_a_small_phone(started):
    started.set_viewport_size({"width": 360, "height": 740})
    started.wait_for_timeout(300)
    assert started.evaluate("document.documentElement.scrollWidth") <= 360
