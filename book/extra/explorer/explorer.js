// The panels of the page explorer.html. The page holds the text and an empty place for each panel; this script fills them when the reader
// presses Start, and not before. Everything that is slow happens in worker.js.
"use strict";
(() => {
  const { add, angle, dot, norm, onCircle, onLine, project, rounded, scale, toText, fromText } = globalThis.glo;
  const here = document.currentScript.src;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const PALETTE = 12, NEIGHBOURS = 5, SAMPLES = 12, STRIP = 9, NUM_PRINCIPAL_STEPS = 3;
  const LEAST_NORM = 1e-6; // a shorter code has no direction
  let told = null; // what the worker says of the model, once it is loaded
  const state = { code: null, origin: null, free: false, series: null, history: [], listeners: [] };

  // ----- the worker -------------------------------------------------------------------------------------------------------------------
  let worker = null, questions = 0;
  const open = new Map();

  function ask(task, given = {}, onProgress = () => {}) {
    return new Promise((resolve, reject) => {
      open.set(questions, { resolve, reject, onProgress });
      worker.postMessage({ id: questions++, task, ...given });
    });
  }

  function stopWorker() {
    worker?.terminate();
    worker = null;
    open.clear();
  }

  function startWorker() {
    worker = new Worker(new URL("worker.js", here));
    worker.onmessage = ({ data }) => {
      const waiting = open.get(data.id);
      if (!waiting) return;
      if ("progress" in data) return void waiting.onProgress(data.progress);
      open.delete(data.id);
      if ("error" in data) waiting.reject(new Error(data.error));
      else waiting.resolve(data.result);
    };
    worker.onerror = (event) => {
      for (const { reject } of open.values()) reject(new Error(event.message || "the worker could not be loaded"));
      open.clear();
    };
  }

  /** Wrap an asynchronous function so that of the calls that arrive while one is running only the last one follows. */
  function latest(run) {
    let running = false, next = null;
    return async function call(...given) {
      if (running) return void (next = given);
      running = true;
      try {
        await run(...given);
      } catch (error) {
        say(`Something went wrong: ${error.message}`);
      }
      running = false;
      const waiting = next;
      next = null;
      if (waiting) call(...waiting);
    };
  }

  // ----- small helpers of the page ----------------------------------------------------------------------------------------------------
  function make(name, given = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(given)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value === true) element.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  const button = (text, onclick, given = {}) => make("button", { type: "button", class: "ex-button", onclick, ...given }, text);
  const screen = (given = {}) => make("canvas", { width: told.description.image_size, height: told.description.image_size, class: "ex-picture", ...given });

  function paint(canvas, pixels, number = 0) {
    const size = told.description.image_size, bytes = size * size * 4;
    canvas.getContext("2d").putImageData(new ImageData(pixels.slice(number * bytes, (number + 1) * bytes), size, size), 0, 0);
  }

  const trainingCode = (number) => told.codes.slice(number * told.description.num_dims, (number + 1) * told.description.num_dims);
  const anyNumber = () => Math.floor(Math.random() * told.description.num_codes);
  const join = (codes) => {
    const all = new Float32Array(codes.length * told.description.num_dims);
    codes.forEach((code, i) => all.set(code, i * told.description.num_dims));
    return all;
  };
  const degrees = (value) => `${value.toFixed(value < 10 ? 1 : 0)}°`;
  const decibels = (error) => `${(10 * Math.log10(4 / error)).toFixed(1)} dB`;

  // The only live region of the page. It is there from the beginning and stays in its place, because a screen reader may miss what a new
  // one says.
  const status = make("p", { role: "status", class: "ex-status" });
  const say = (text) => { status.textContent = text; };

  /** Make the number beside a slider. A screen reader has it from the slider itself. */
  function makeReadout(slider, text) {
    const readout = make("span", { class: "ex-value", "aria-hidden": "true" });
    readout.write = (value) => {
      readout.textContent = value;
      slider.setAttribute("aria-valuetext", value);
    };
    readout.write(text);
    return readout;
  }

  /** Make a button that shows a face. The code belongs to it, and `choose` decides what a press does. */
  function faceButton(code, label, choose) {
    const canvas = screen({ "aria-hidden": "true" });
    const face = make("button", { type: "button", class: "ex-face", "aria-label": label, title: label, onclick: () => choose(face) }, canvas);
    face.code = code;
    face.canvas = canvas;
    return face;
  }

  /** Decode the codes of several faces at once, and paint them. */
  async function paintAll(faces, asItIs = false) {
    if (!faces.length) return;
    const { pixels } = await ask("decode", { codes: join(faces.map(({ code }) => code)), asItIs });
    faces.forEach((face, i) => paint(face.canvas, pixels, i));
  }

  // ----- the current code -------------------------------------------------------------------------------------------------------------
  const hasDirection = (code) => norm(code) >= LEAST_NORM;
  const onSphere = (code) => project(code, told.description.projection);

  /**
   * Make a code the current one. `origin` is the code from which the sliders count: by default the new code itself, projected if it is not.
   * A code is `free` if it is decoded as it is. Changes of one `series`, such as the ticks of a slider, are undone in one step, and only the
   * first of them is announced.
   */
  function setCode(code, { free = false, origin = null, message = "", series = null, remember = true, source = null } = {}) {
    if (!series || series !== state.series) {
      if (remember && state.code) state.history.push({ code: state.code, free: state.free, origin: state.free ? state.origin : null });
      if (state.history.length > 50) state.history.shift();
      if (message) say(message);
    }
    const exact = rounded(code); // what a link holds is what is seen
    Object.assign(state, { code: exact, origin: origin || (free ? onSphere(exact) : exact), free, series });
    for (const listen of state.listeners) listen(source);
  }

  const onChange = (listen) => state.listeners.push(listen);

  /** Turn the place with the button Start into the bar of the current face, around the status line, which stays where it is. */
  function buildBar(place, text) {
    const picture = screen({ role: "img", "aria-label": "The current face" });
    const facts = make("p", { class: "ex-facts" }), speed = make("span", { class: "ex-speed" });
    const undo = button("Undo", () => {
      const before = state.history.pop();
      if (before) setCode(before.code, { ...before, remember: false, message: "Back to the face before." });
      else say("There is nothing to undo.");
    });
    for (const child of [...text.children]) if (child !== status) child.remove();
    place.className = "ex-bar";
    for (const [name, value] of [["role", "region"], ["aria-label", "The current face"], ["tabindex", "-1"]]) place.setAttribute(name, value);
    place.prepend(picture);
    text.prepend(facts);
    text.append(make("div", { class: "ex-row" },
      button("A training face", () => {
        const number = anyNumber();
        setCode(trainingCode(number), { message: `Training face ${number + 1}.` });
      }),
      button("The mean code", () => setCode(onSphere(told.mean), { message: "The mean of all codes, projected." })),
      undo,
      button("Copy a link", copyLink)));
    const describeNearest = async (code) => {
      if (!hasDirection(code)) return "a code of norm 0 has no direction, so no training face is nearest to it";
      const { angles } = await ask("nearest", { code, k: 1 });
      return angles[0] < 0.5 ? "the code of a training face" : `${degrees(angles[0])} from the nearest training face`;
    };
    const show = latest(async () => {
      const { code, free } = state;
      const { pixels, milliseconds } = await ask("decode", { codes: code, asItIs: free });
      paint(picture, pixels);
      picture.dataset.code = toText(code);
      speed.textContent = `; decoded in ${milliseconds.toFixed(1)} ms`;
      facts.textContent = `Norm ${norm(code).toFixed(2)}; ${await describeNearest(code)}`;
      facts.append(speed);
    });
    onChange(() => {
      undo.setAttribute("aria-disabled", String(!state.history.length)); // a button that is disabled would lose the focus
      picture.dataset.wanted = toText(state.code); // until this is the code that is painted, the picture is of an earlier one
      show();
    });
  }

  // ----- links ------------------------------------------------------------------------------------------------------------------------
  /** Return a few characters by which a link knows its decoder again. */
  const nameOfModel = () => (told.description.decoder_sha256 || told.description.sha256).slice(0, 8);

  async function copyLink() {
    const address = new URL(location.href);
    address.hash = `code=${toText(state.code)}${state.free ? "&free" : ""}&model=${nameOfModel()}`;
    history.replaceState(null, "", address);
    try {
      await navigator.clipboard.writeText(address.href);
      say("The link is copied; it holds the code of this face.");
    } catch {
      say("The address of this page is now a link that holds the code of this face.");
    }
  }

  /** Read the link in the address: null if it is none, otherwise its code, or what is wrong with it. Earlier links name no model. */
  function readLink() {
    const given = new URLSearchParams(location.hash.slice(1)), text = given.get("code");
    if (text === null) return null;
    if (given.has("model") && given.get("model") !== nameOfModel()) return { problem: "This link belongs to another model." };
    const code = fromText(text, told.description.num_dims);
    return code ? { code, free: given.has("free") } : { problem: "The code in this link cannot be read; the link may be incomplete." };
  }

  // ----- panels -----------------------------------------------------------------------------------------------------------------------
  const panels = {};

  panels.neighbours = (place) => {
    const faces = Array.from({ length: NEIGHBOURS }, () => {
      const face = faceButton(state.code, "", ({ code, number }) => setCode(code, { message: `Training face ${number + 1}.` }));
      face.caption = make("figcaption");
      return face;
    });
    const group = make("div", { class: "ex-faces", role: "group", "aria-label": "The nearest training faces" },
      ...faces.map((face) => make("figure", {}, face, face.caption)));
    const none = make("p", { class: "ex-note", hidden: true }, "A code of norm 0 has no direction, so no training face is nearest to it.");
    place.append(make("div", { class: "ex-stack" }, group, none)); // one over the other, so that the page below does not jump
    onChange(latest(async () => {
      none.hidden = hasDirection(state.code);
      group.style.visibility = none.hidden ? "visible" : "hidden";
      if (!none.hidden) return;
      const { numbers, angles } = await ask("nearest", { code: state.code, k: NEIGHBOURS });
      faces.slice(0, numbers.length).forEach((face, i) => {
        Object.assign(face, { code: trainingCode(numbers[i]), number: numbers[i] });
        face.setAttribute("aria-label", `Training face ${numbers[i] + 1}, ${degrees(angles[i])} away. Make it the current face.`);
        face.caption.textContent = degrees(angles[i]);
      });
      await paintAll(faces);
    }));
  };

  panels.directions = (place) => {
    const { num_dims: dims, directions: { attributes, num_principal: count } } = told.description;
    const sliders = [];
    const addSlider = (box, label, direction, length, most, unit) => {
      const input = make("input", { type: "range", min: -most, max: most, step: 0.1, value: 0, "aria-label": `${label}, ${unit}` });
      const readout = makeReadout(input, "0");
      input.addEventListener("input", () => {
        readout.write(Number(input.value).toFixed(1));
        const moved = sliders.reduce((code, slider) => add(code, slider.direction, slider.length * Number(slider.input.value)), state.origin);
        setCode(onSphere(moved), { origin: state.origin, series: label, source: "sliders", message: `Moved along ${label}.` });
      });
      sliders.push({ input, readout, direction, length });
      box.append(make("label", { class: "ex-slider" }, make("span", {}, label), input, readout));
    };
    const reset = () => sliders.forEach(({ input, readout }) => { input.value = 0; readout.write("0"); });
    if (attributes.length) {
      const box = make("fieldset", { class: "ex-box" }, make("legend", {}, "Attributes"));
      const units = { true: "in steps from absent to present", false: "in steps of two standard deviations" };
      attributes.forEach(({ name, is_binary: binary }, i) =>
        addSlider(box, name, told.effects.subarray(i * dims, (i + 1) * dims), 1, 2, units[Boolean(binary)]));
      place.append(box, make("p", { class: "ex-note" }, describeSteps(attributes)));
    }
    const box = make("fieldset", { class: "ex-box" }, make("legend", {}, "Principal directions, in standard deviations"));
    for (let i = 0; i < count; i++)
      addSlider(
        box, `direction ${i + 1}`, told.principal.subarray(i * dims, (i + 1) * dims), told.scales[i], NUM_PRINCIPAL_STEPS, "in standard deviations",
      );
    const back = button("All sliders to zero", () => setCode(state.origin, { message: "Back to where the sliders began." }));
    place.append(box, make("div", { class: "ex-row" }, back));
    onChange((source) => { if (source !== "sliders") reset(); });
  };

  /** Say what a step of the sliders of attributes is. */
  function describeSteps(attributes) {
    const binary = attributes.filter(({ is_binary }) => is_binary).map(({ name }) => name), words = new Intl.ListFormat("en-GB").format(binary);
    if (!binary.length) return "A step is two standard deviations.";
    return `A step is from absent to present for ${words}${binary.length < attributes.length ? ", and two standard deviations for the others" : ""}.`;
  }

  panels.samples = (place) => {
    const { priors, provenance } = told.description, judgement = provenance.judgement || {};
    const choice = make("select", {}, ...priors.map(({ name }) => make("option", { value: name, selected: name === "Gaussian mixture" }, name)));
    const numbers = make("p", { class: "ex-note" });
    const faces = Array.from({ length: SAMPLES }, () => faceButton(state.code, "", ({ code, prior }) => setCode(code, { message: `A sample of the ${prior} prior.` })));
    faces.forEach((face) => { face.caption = make("figcaption"); });
    let seed = 0;
    const draw = latest(async () => {
      const prior = choice.value, dims = told.description.num_dims;
      const codes = await ask("sample", { prior, n: SAMPLES, seed: seed++ });
      const { pixels } = await ask("decode", { codes });
      const drawn = faces.map((_, i) => codes.slice(i * dims, (i + 1) * dims));
      const nearest = await Promise.all(drawn.map((code) => ask("nearest", { code, k: 1 })));
      // All at once, so that a face that is chosen meanwhile is the one that is seen and named.
      faces.forEach((face, i) => {
        const away = degrees(nearest[i].angles[0]);
        Object.assign(face, { code: drawn[i], prior });
        paint(face.canvas, pixels, i);
        face.caption.textContent = away;
        face.setAttribute("aria-label", `Sample ${i + 1}, ${away} from the nearest training face. Make it the current face.`);
      });
      numbers.textContent = describe(judgement, prior);
    });
    choice.addEventListener("change", draw);
    place.append(
      make("div", { class: "ex-row" }, make("label", {}, "Prior ", choice), button(`Draw ${SAMPLES} more`, draw)),
      make("div", { class: "ex-faces", role: "group", "aria-label": "Samples" }, ...faces.map((face) => make("figure", {}, face, face.caption))), numbers);
    draw();
  };

  /** Say what the judges found about the samples of a prior, beside the reconstructions. */
  function describe(judgement, prior) {
    const judges = { efficientnet_lite0: "EfficientNet-Lite0", face_recogniser: "the face recogniser" };
    const lines = Object.entries(judges).flatMap(([key, name]) => {
      const found = judgement[key], samples = found && found.samples && found.samples[prior];
      if (!samples) return [];
      const distance = (numbers) => (1000 * numbers.kernel_distance).toFixed(0).replace("-", "−");
      const copies = samples.memorisation ? `, memorisation ratio ${samples.memorisation.toFixed(2)}` : "";
      return [`${name}: ${distance(samples)}${copies} (reconstructions of training faces ${distance(found.training)}, real faces ${distance(found.floor)})`];
    });
    return lines.length ? `1000 × KID of this prior's samples by ${lines.join("; by ")}. Smaller is nearer to real faces.` : "";
  }

  panels.walk = (place) => {
    const names = { start: "Start", end: "End" }, ends = {};
    const slider = make("input", { type: "range", min: 0, max: 100, step: 1, value: 50, "aria-label": "Share of the way, in percent" });
    const routes = {
      line: { title: "Straight line, then projected", of: onLine }, circle: { title: "Great circle", of: onCircle },
    };
    for (const route of Object.values(routes)) {
      route.canvas = screen({ role: "img", "aria-label": route.title });
      route.text = make("figcaption");
      route.strip = Array.from({ length: STRIP }, () => ({ canvas: screen({ "aria-hidden": "true" }) }));
    }
    const codeAt = (route, share) => route.of(ends.start.code, ends.end.code, share);
    const showMiddle = latest(async () => {
      const share = Number(slider.value) / 100, whole = angle(ends.start.code, ends.end.code), list = Object.values(routes);
      for (const route of list) route.code = codeAt(route, share);
      const { pixels } = await ask("decode", { codes: join(list.map(({ code }) => code)) });
      list.forEach((route, i) => {
        paint(route.canvas, pixels, i);
        route.text.textContent = `norm ${norm(route.code).toFixed(2)} before projection, ${degrees(angle(ends.start.code, route.code))} of ${degrees(whole)}`;
      });
    });
    const showAll = latest(async () => {
      await paintAll(Object.values(ends));
      for (const route of Object.values(routes)) {
        route.strip.forEach((item, i) => { item.code = codeAt(route, i / (STRIP - 1)); });
        await paintAll(route.strip);
      }
      showMiddle();
    });
    for (const [end, name] of Object.entries(names)) {
      ends[end] = faceButton(trainingCode(anyNumber()), `${name} of the walk. Take the current face for it.`, (face) => {
        face.code = onSphere(state.code);
        showAll();
        say(`The current face is the ${name.toLowerCase()} of the walk.`);
      });
    }
    slider.addEventListener("input", showMiddle);
    let playing = 0;
    const play = button("Play", () => {
      cancelAnimationFrame(playing);
      const began = performance.now();
      const tick = (now) => {
        const share = Math.min(1, (now - began) / 4000);
        slider.value = 100 * share;
        showMiddle();
        if (share < 1) playing = requestAnimationFrame(tick);
      };
      playing = requestAnimationFrame(tick);
    });
    play.hidden = calm.matches;
    calm.addEventListener("change", () => { play.hidden = calm.matches; cancelAnimationFrame(playing); });
    place.append(
      make("div", { class: "ex-row" },
        ...Object.entries(names).map(([end, name]) => make("figure", {}, ends[end], make("figcaption", {}, name))),
        button("Two other faces", () => { Object.values(ends).forEach((end) => { end.code = trainingCode(anyNumber()); }); showAll(); }), play,
        button("Take the great circle's face", () => setCode(codeAt(routes.circle, Number(slider.value) / 100), { message: "A face from the walk." }))),
      make("label", { class: "ex-slider ex-wide" }, make("span", {}, "Share of the way"), slider),
      make("div", { class: "ex-pair" }, ...Object.values(routes).map((route) =>
        make("figure", {}, make("p", { class: "ex-title" }, route.title), route.canvas, route.text, make("div", { class: "ex-strip" }, ...route.strip.map(({ canvas }) => canvas))))));
    showAll();
  };

  panels.arithmetic = (place) => {
    const signs = { A: "", B: "−", C: "+" }, slots = {};
    let picked = null;
    const result = faceButton(state.code, "The result. Make it the current face.", ({ code }) => setCode(code, { message: "A − B + C." }));
    const compute = latest(async () => {
      result.code = onSphere(add(add(slots.A.code, slots.B.code, -1), slots.C.code));
      await paintAll([...Object.values(slots), result]);
    });
    const fill = (slot, face) => {
      slot.code = face.code;
      say(`${face.name} is now ${slot.letter}.`);
      pick(null);
      compute();
    };
    const pick = (face) => {
      if (picked) picked.setAttribute("aria-pressed", "false");
      picked = face;
      if (picked) picked.setAttribute("aria-pressed", "true");
    };
    for (const letter of Object.keys(signs)) {
      slots[letter] = faceButton(trainingCode(anyNumber()), `Place ${letter}. Put the chosen face here, or the current face if none is chosen.`, (slot) =>
        fill(slot, picked || { code: onSphere(state.code), name: "The current face" }));
      Object.assign(slots[letter], { letter });
      slots[letter].classList.add("ex-slot");
    }
    const palette = Array.from({ length: PALETTE }, () => {
      const face = faceButton(trainingCode(anyNumber()), "", () => { if (!face.dragged) { pick(picked === face ? null : face); if (picked) say(`${face.name} is chosen. Press A, B or C.`); } });
      face.setAttribute("aria-pressed", "false");
      makeDraggable(face, (target) => {
        const slot = Object.values(slots).find((other) => other.contains(target));
        if (slot) fill(slot, face);
      });
      return face;
    });
    const refill = latest(async () => {
      pick(null);
      palette.forEach((face) => {
        const number = anyNumber();
        Object.assign(face, { code: trainingCode(number), name: `Training face ${number + 1}` });
        face.setAttribute("aria-label", `${face.name}. Choose it, then press A, B or C.`);
        face.title = "Drag it to A, B or C, or press it and then A, B or C";
      });
      await paintAll(palette);
    });
    const drawn = told.description.directions.attributes.map(({ name }) => name);
    const named = ["glasses", "hat", "beard", "masculine"].every((name) => drawn.includes(name)); // by which the example chooses its faces
    const example = button("An example: glasses off one face and onto another", () => {
      const has = (number, name) => told.attributes[drawn.indexOf(name)][number] > 127;
      const find = (test) => { for (let i = 0; i < 5000; i++) { const number = anyNumber(); if (test(number)) return number; } return anyNumber(); };
      const near = (other, test) => find((number) => test(number) && ["hat", "beard", "masculine"].every((name) => has(number, name) === has(other, name)));
      const A = find((number) => has(number, "glasses") && !has(number, "hat")), B = near(A, (number) => !has(number, "glasses"));
      const C = find((number) => !has(number, "glasses") && !has(number, "hat"));
      [A, B, C].forEach((number, i) => { slots["ABC"[i]].code = trainingCode(number); });
      compute();
      say("A wears glasses, B is a face like it without; C receives the difference.");
    });
    place.append(
      make("div", { class: "ex-row ex-sum" }, ...Object.entries(slots).flatMap(([letter, slot]) => [
        make("span", { class: "ex-sign" }, signs[letter]), make("figure", {}, slot, make("figcaption", {}, letter))]),
        make("span", { class: "ex-sign" }, "="), make("figure", {}, result, make("figcaption", {}, "result"))),
      make("div", { class: "ex-faces ex-palette", role: "group", "aria-label": "Training faces to choose from" }, ...palette),
      make("div", { class: "ex-row" }, button("Other faces", refill), ...(named ? [example] : [])));
    refill();
    if (named) example.click();
    else compute();
  };

  /** Let a face be dragged with mouse, pen or finger; a press without movement stays a press. */
  function makeDraggable(face, drop) {
    face.addEventListener("pointerdown", (down) => {
      if (down.button) return;
      face.dragged = false;
      let ghost = null;
      const move = (event) => {
        if (!ghost && Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < 6) return;
        if (!ghost) {
          face.dragged = true;
          ghost = make("canvas", { width: face.canvas.width, height: face.canvas.height, class: "ex-ghost", "aria-hidden": "true" });
          ghost.getContext("2d").drawImage(face.canvas, 0, 0);
          document.body.append(ghost);
        }
        ghost.style.transform = `translate(${event.clientX - 32}px, ${event.clientY - 32}px)`;
      };
      const end = (event) => {
        face.removeEventListener("pointermove", move);
        for (const name of ["pointerup", "pointercancel"]) face.removeEventListener(name, end);
        if (!ghost) return;
        ghost.remove();
        setTimeout(() => { face.dragged = false; }); // after the click that ends the drag, and before any other press
        if (event.type === "pointerup") drop(document.elementFromPoint(event.clientX, event.clientY));
      };
      face.setPointerCapture(down.pointerId);
      face.addEventListener("pointermove", move);
      for (const name of ["pointerup", "pointercancel"]) face.addEventListener(name, end);
    });
  }

  panels.map = (place) => {
    const { num_dims: dims, num_codes: count, directions } = told.description;
    const axes = [0, 1].map((i) => told.principal.subarray(i * dims, (i + 1) * dims));
    const coordinates = (code) => axes.map((axis, i) => dot(add(code, told.mean, -1), axis) / told.scales[i]);
    const points = Array.from({ length: count }, (_, number) => coordinates(trainingCode(number)));
    const REACH = 3.2, SIDE = 512; // standard deviations at the border, pixels of the canvas
    const at = (value) => ((value + REACH) / (2 * REACH)) * SIDE;
    const canvas = make("canvas", { width: SIDE, height: SIDE, class: "ex-map", tabindex: 0,
      role: "application", "aria-roledescription": "map", "aria-describedby": "ex-map-help" }); // otherwise a screen reader keeps the arrow keys
    const cloud = make("canvas", { width: SIDE, height: SIDE }), legend = make("p", { class: "ex-note" });
    const choice = make("select", {}, ...directions.attributes.map(({ name }, i) => make("option", { value: i, selected: name === "background" }, name)));
    const drawCloud = () => {
      const context = cloud.getContext("2d"), values = directions.attributes.length ? told.attributes[Number(choice.value)] : null;
      context.clearRect(0, 0, SIDE, SIDE);
      points.forEach(([x, y], number) => {
        context.fillStyle = colour(values ? values[number] / 255 : 0.5);
        context.fillRect(at(x) - 1, SIDE - at(y) - 1, 2.2, 2.2);
      });
      if (values) {
        const { name, low, high } = directions.attributes[Number(choice.value)];
        legend.replaceChildren(`${name}: `, make("span", { class: "ex-scale", "aria-hidden": "true" }), ` from ${Number(low.toPrecision(2))} (dark) to ${Number(high.toPrecision(2))} (bright)`);
      }
      draw();
    };
    const tenths = (value) => (Math.round(10 * value) / 10 + 0).toFixed(1); // + 0 makes −0 a plain 0
    const describePlace = ([x, y]) => `${tenths(x)} to the right and ${tenths(y)} up`;
    const draw = () => {
      const context = canvas.getContext("2d"), [x, y] = coordinates(state.code);
      context.fillStyle = "#14171d";
      context.fillRect(0, 0, SIDE, SIDE);
      context.drawImage(cloud, 0, 0);
      for (const [width, style] of [[5, "#000"], [2.5, "#fff"]]) {
        context.lineWidth = width;
        context.strokeStyle = style;
        context.beginPath();
        context.arc(at(x), SIDE - at(y), 9, 0, 7);
        context.stroke();
      }
      canvas.setAttribute("aria-label", `Map of the codes. The current code is at ${describePlace([x, y])}, in standard deviations.`);
    };
    const goTo = (x, y, series) => {
      const now = coordinates(state.code);
      const moved = onSphere([x, y].reduce((code, value, i) => add(code, axes[i], (value - now[i]) * told.scales[i]), state.code));
      setCode(moved, { series });
      say(`At ${describePlace(coordinates(state.code))}.`); // where the projection has left it
    };
    canvas.addEventListener("click", (event) => { // and not when a finger comes down, which may be the beginning of scrolling
      const box = canvas.getBoundingClientRect(), place = (value, from, length) => ((value - from) / length) * 2 * REACH - REACH;
      goTo(place(event.clientX, box.left, box.width), -place(event.clientY, box.top, box.height));
    });
    const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    canvas.addEventListener("keydown", (event) => {
      const step = keys[event.key];
      if (!step) return;
      event.preventDefault();
      const [x, y] = coordinates(state.code), length = event.shiftKey ? 0.5 : 0.15;
      goTo(x + length * step[0], y + length * step[1], "map");
    });
    place.append(
      ...(directions.attributes.length ? [make("div", { class: "ex-row" }, make("label", {}, "Colour by ", choice))] : []), canvas, legend,
      make("p", { id: "ex-map-help", class: "ex-note" }, "Press a place of the map, or move with the arrow keys (with Shift in larger steps)."));
    choice.addEventListener("change", drawCloud);
    onChange(draw);
    drawCloud();
  };

  /** Return a colour between dark violet and yellow (five colours of the map viridis) for a number from 0 to 1. */
  function colour(share) {
    const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
    const place = Math.min(3.999, Math.max(0, share * 4)), first = Math.floor(place), rest = place - first;
    return `rgb(${stops[first].map((value, i) => Math.round(value + rest * (stops[first + 1][i] - value))).join(" ")})`;
  }

  panels.sphere = (place) => {
    const slider = make("input", { type: "range", min: 0, max: 3, step: 0.02, value: 1, "aria-label": "Norm of the code" });
    const readout = makeReadout(slider, "1.00");
    const strip = [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3].map((length) => ({ length, canvas: screen({ "aria-hidden": "true" }) }));
    /** Return the code on the sphere from which the reader came, or the mean if there is none, as after a link to norm 0. */
    const home = () => onSphere([state.free ? state.origin : state.code, told.mean].find(hasDirection));
    let along = null, origin = null;
    slider.addEventListener("input", () => {
      origin ??= home();
      along ??= scale(origin, 1 / norm(origin));
      readout.write(Number(slider.value).toFixed(2));
      setCode(scale(along, Number(slider.value)), { origin, free: true, series: "norm", source: "sphere", message: "Decoded without projection." });
    });
    const showStrip = latest(async () => {
      const code = home();
      strip.forEach((item) => { item.code = scale(code, item.length / norm(code)); });
      await paintAll(strip, true);
    });
    onChange((source) => {
      if (source === "sphere") return;
      along = origin = null;
      slider.value = norm(state.code);
      readout.write(norm(state.code).toFixed(2));
      showStrip();
    });
    place.append(
      make("label", { class: "ex-slider ex-wide" }, make("span", {}, "Norm, without projection"), slider, readout),
      make("div", { class: "ex-strip ex-lengths" }, ...strip.map(({ length, canvas }) => make("figure", {}, canvas, make("figcaption", {}, String(length))))),
      make("div", { class: "ex-row" }, button("Back to the sphere", () => setCode(home(), { message: "Back on the sphere." }))));
    showStrip();
  };

  panels.encode = (place) => {
    const { image_size: size, num_examples: count } = told.description;
    const easel = make("canvas", { width: size, height: size, class: "ex-easel", role: "img", "aria-label": "The image whose code is searched for" });
    const context = easel.getContext("2d", { willReadFrequently: true });
    const found = screen({ role: "img", "aria-label": "The decoded image of the code that was found" });
    const curve = make("canvas", { width: 320, height: 120, class: "ex-curve", role: "img", "aria-label": "Error over the steps" });
    const report = make("p", { class: "ex-note" });
    let turns = 0; // of the images for the easel; one that arrives after a later one was asked for is left out
    const fill = (colour) => { turns++; context.fillStyle = colour; context.fillRect(0, 0, size, size); };
    fill("#9db4c0");

    const putExample = (number) => {
      const from = told.examples.subarray(number * size * size * 3, (number + 1) * size * size * 3), image = context.createImageData(size, size);
      for (let i = 0; i < size * size; i++) image.data.set([from[3 * i], from[3 * i + 1], from[3 * i + 2], 255], 4 * i);
      turns++;
      context.putImageData(image, 0, 0);
    };
    const upload = make("input", { type: "file", accept: "image/*", id: "ex-upload" });
    upload.addEventListener("change", async () => {
      const [file] = upload.files, turn = ++turns;
      if (!file) return;
      upload.value = ""; // so that the same file can be chosen again
      try {
        const image = await createImageBitmap(file), side = Math.min(image.width, image.height);
        if (turn === turns) {
          fill("#ffffff"); // shows through where the image is transparent
          context.imageSmoothingQuality = "high";
          context.drawImage(image, (image.width - side) / 2, (image.height - side) / 2, side, side, 0, 0, size, size);
          say(`The middle square of ${file.name}, made small. It has not left this page.`);
        }
        image.close();
      } catch {
        if (turn === turns) say(`${file.name} is not an image that your browser can read.`);
      }
    });
    const brush = make("input", { type: "color", value: "#6b4a2f", "aria-label": "Colour of the brush" });
    const width = make("input", { type: "range", min: 1, max: 16, value: 5, "aria-label": "Width of the brush" });
    const stroke = (event) => {
      const box = easel.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * size, y = ((event.clientY - box.top) / box.height) * size;
      context.fillStyle = brush.value;
      context.beginPath();
      context.arc(x, y, width.value / 2, 0, 7);
      context.fill();
    };
    easel.addEventListener("pointerdown", (event) => { easel.setPointerCapture(event.pointerId); stroke(event); });
    easel.addEventListener("pointermove", (event) => { if (event.buttons) for (const each of event.getCoalescedEvents?.() || [event]) stroke(each); });

    let best = null, searching = false;
    const take = button("Take this face", () => best && setCode(best.code, { message: "The face that was found is now the current one." }), { disabled: true });
    const go = button("Find its code", async () => {
      if (searching) return void ask("stop");
      searching = true;
      go.textContent = "Stop";
      const image = context.getImageData(0, 0, size, size).data, pixels = new Uint8Array(size * size * 3), history = [];
      for (let i = 0; i < size * size; i++) pixels.set(image.subarray(4 * i, 4 * i + 3), 3 * i);
      try {
        best = await ask("encode", { pixels, every: calm.matches ? 50 : 3 }, (progress) => {
          history.push(progress.errors);
          paint(found, progress.pixels);
          drawCurve(curve, history);
        });
        const { pixels: final } = await ask("decode", { codes: best.code });
        paint(found, final);
        const start = ["from the regression", "from the mean code", "from a random code", "from a random code"][best.start];
        say(`The search has ended at ${decibels(best.error)}.`);
        report.textContent = `Best of four starts: the one ${start}, ${decibels(best.error)} after ${best.step} steps (${decibels(Math.min(...history[0]))} at the start).`;
        take.disabled = false;
      } catch (error) {
        say(`The search ended: ${error.message}`);
      }
      searching = false;
      go.textContent = "Find its code";
    });
    const examples = Array.from({ length: count }, (_, i) => button(`Unseen face ${i + 1}`, () => { putExample(i); say(`Unseen face ${i + 1} is on the easel.`); }));
    place.append(
      make("div", { class: "ex-row" }, ...examples),
      make("div", { class: "ex-row" }, make("label", { for: "ex-upload" }, "Your own image: "), upload),
      make("div", { class: "ex-row" }, make("label", {}, "Brush ", brush), make("label", {}, "width ", width), button("Empty", () => fill("#9db4c0")),
        button("The current face", async () => {
          const turn = ++turns, { pixels } = await ask("decode", { codes: state.code, asItIs: state.free });
          if (turn === turns) paint(easel, pixels);
        })),
      make("div", { class: "ex-pair" },
        make("figure", {}, make("p", { class: "ex-title" }, "Image; paint on it"), easel),
        make("figure", {}, make("p", { class: "ex-title" }, "Decoded from the best code"), found)),
      curve, report, make("div", { class: "ex-row" }, go, take));
    if (count) putExample(0);
  };

  /** Draw the error of each start over the steps, on a logarithmic axis. */
  function drawCurve(canvas, history) {
    const context = canvas.getContext("2d"), style = getComputedStyle(canvas), all = history.flat().map(Math.log);
    const low = Math.min(...all), high = Math.max(...all, low + 0.1);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.lineWidth = 2;
    history[0].forEach((_, start) => {
      context.strokeStyle = start ? style.color : style.accentColor === "auto" ? "#0a7d91" : style.accentColor;
      context.globalAlpha = start ? 0.45 : 1;
      context.beginPath();
      history.forEach((errors, i) => {
        const x = (i / Math.max(1, history.length - 1)) * (canvas.width - 8) + 4;
        const y = 6 + (1 - (Math.log(errors[start]) - low) / (high - low)) * (canvas.height - 12);
        context.lineTo(x, y);
      });
      context.stroke();
    });
    context.globalAlpha = 1;
  }

  // ----- start ------------------------------------------------------------------------------------------------------------------------
  async function start(place, text, press, progress) {
    if (press.getAttribute("aria-disabled") === "true") return;
    press.setAttribute("aria-disabled", "true");
    say("The model is loading.");
    try {
      startWorker();
      const url = new URL(place.dataset.model, here).href;
      told = await ask("load", { url }, ({ size, total }) => {
        progress.textContent = `${(size / 1e6).toFixed(1)}${total ? ` of ${(total / 1e6).toFixed(1)}` : ""} MB`;
      });
    } catch (error) {
      stopWorker();
      progress.textContent = "";
      const remains = "The text of this page and the picture above remain; the chapter on inference does all of this in Python.";
      say(`The explorer cannot start here: ${error.message}. ${remains}`);
      press.setAttribute("aria-disabled", "false");
      return;
    }
    document.querySelector(".ex-still")?.remove();
    const hadFocus = document.activeElement === press, linked = readLink();
    state.code = state.origin = trainingCode(0);
    buildBar(place, text);
    for (const panel of document.querySelectorAll("[data-panel]")) {
      panels[panel.dataset.panel](panel);
      panel.classList.add("ex-panel");
    }
    if (linked?.code) setCode(linked.code, { free: linked.free, remember: false, message: "The face of the link." });
    else setCode(trainingCode(anyNumber()), {
      remember: false, message: linked ? `${linked.problem} This is a training face instead.` : "Ready. This is a training face, decoded from its code.",
    });
    if (hadFocus) place.focus({ preventScroll: true }); // the button is gone
    place.scrollIntoView({ block: "nearest" });
  }

  const place = document.querySelector("[data-model]");
  if (location.protocol === "file:") { // from which browsers start no worker
    place.replaceChildren(make("p", {}, "The explorer needs a web server, and this page was opened as a file. In the folder of the repository run ",
      make("code", {}, "python -m http.server --directory _build/html"), " and open http://localhost:8000/explorer.html."));
    return;
  }
  const progress = make("span", { class: "ex-note" }), text = make("div", { class: "ex-bar-text" });
  const press = button("Start the explorer", () => start(place, text, press, progress), { class: "ex-button ex-start" });
  const promise = ` loads ${place.dataset.megabytes} MB and computes on your device; nothing leaves this page. `;
  text.append(press, make("span", { class: "ex-note" }, promise), progress, status);
  place.replaceChildren(text);
  addEventListener("hashchange", () => {
    const linked = told && readLink();
    if (linked?.code) setCode(linked.code, { free: linked.free, message: "The face of the link." });
    else if (linked) say(`${linked.problem} The face stays as it is.`);
  });
})();
