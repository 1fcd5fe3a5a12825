// The decoder of the explorer, in a thread of its own: it decodes codes, draws new ones, and searches for the code of an image.
//
// A message is {id, task, ...arguments}; the answer is {id, result} or {id, error}, and before it there may be any number of
// {id, progress}. The files of the model are written by `python -m glo_lib export --for web`; glo_lib.inference.web describes them.
"use strict";
importScripts("codes.js", "vendor/tf-core.es2017.min.js", "vendor/tf-backend-wasm.es2017.min.js");

const { add, angle, dot, fromHalf, gaussian, move, project } = globalThis.glo;
const ROWS_AT_ONCE = 32; // images that are decoded at once
let model = null; // set once by the task "load"
let stopped = false; // set by the task "stop", read by the search

let halves = null; // the value of each float16, made when the first is read
const tasks = { load, decode, nearest, sample, encode, gradient, stop: () => { stopped = true; } };

onmessage = async ({ data: { id, task, ...given } }) => {
  try {
    const result = await tasks[task](given, (progress) => postMessage({ id, progress }));
    postMessage({ id, result });
  } catch (error) {
    postMessage({ id, error: String((error && error.message) || error) });
  }
};

/** Fetch the model and start TensorFlow.js. Returns what the page needs of it: the description, and what it draws itself. */
async function load({ url }, report) {
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false); // threads need headers that a static host cannot send
  tf.wasm.setWasmPaths(new URL("vendor/", location.href).href);
  const [[description, bytes], started] = await Promise.all([fetchModel(url, report), tf.setBackend("wasm")]);
  if (!started) throw new Error("this browser does not run WebAssembly");
  const arrays = Object.fromEntries(description.arrays.map((entry) => [entry.name, { ...entry, values: readArray(bytes, entry) }]));
  model = { description, arrays, layers: description.layers.map((layer) => prepareLayer(layer, arrays)), dims: description.num_dims };
  await decode({ codes: model.arrays.codes.values.slice(0, model.dims) }); // compiles what the first picture would wait for
  const { arrays: entries, ...told } = description;
  return {
    description: told,
    codes: model.arrays.codes.values,
    mean: arrays["codes/mean"].values,
    principal: arrays["principal/directions"].values,
    scales: arrays["principal/scales"].values,
    effects: arrays["attributes/effects"] ? arrays["attributes/effects"].values : new Float32Array(0),
    attributes: description.directions.attributes.map((_, number) => arrays[`attributes/${number}`].values),
    examples: arrays.examples ? arrays.examples.values : new Uint8Array(0),
    simd: await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT"),
  };
}

/**
 * Fetch both files of a model. A browser may hold an older copy of either, and the arrays of two models can have the same length. So the
 * description is fetched anew if it has changed, and the address of the arrays contains their digest.
 */
async function fetchModel(url, report) {
  const description = await fetchFile(new URL("model.json", url), { cache: "no-cache" }).then((response) => response.json());
  const bytes = await fetchFile(new URL(`arrays.bin?v=${description.sha256.slice(0, 16)}`, url)).then((response) => readAll(response, report));
  if (bytes.byteLength !== description.num_bytes) throw new Error(`arrays.bin has ${bytes.byteLength} bytes instead of ${description.num_bytes}`);
  if (globalThis.crypto?.subtle) { // which browsers have for pages from https and from this machine
    const found = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const digest = Array.from(found, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (digest !== description.sha256) throw new Error("arrays.bin and model.json are of different versions; wait a minute and load the page again");
  }
  return [description, bytes];
}

async function fetchFile(url, options) {
  const response = await fetch(url, options);
  if (!response.ok) throw new Error(`${url.pathname} cannot be loaded (${response.status})`);
  return response;
}

async function readAll(response, report) {
  const total = Number(response.headers.get("content-encoding") ? 0 : response.headers.get("content-length")) || 0;
  const reader = response.body.getReader(), parts = [];
  let size = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    size += part.value.length;
    report({ size, total });
  }
  const whole = new Uint8Array(size);
  parts.reduce((offset, part) => (whole.set(part, offset), offset + part.length), 0);
  return whole.buffer;
}

function readArray(bytes, { type, shape, offset }) {
  const count = shape.reduce((a, b) => a * b, 1);
  if (type === "uint8") return new Uint8Array(bytes, offset, count);
  if (type === "float32") return new Float32Array(bytes, offset, count);
  halves ??= Float32Array.from({ length: 65536 }, (_, bits) => fromHalf(bits));
  return Float32Array.from(new Uint16Array(bytes, offset, count), (bits) => halves[bits]);
}

/** Return the tensors of a layer: the kernel, the bias, and the kernel by which gradients go back. */
function prepareLayer(layer, arrays) {
  const { values, shape } = arrays[layer.kernel], bias = arrays[layer.bias].values;
  if (!layer.padding) {
    const repeated = Float32Array.from({ length: shape[1] }, (_, i) => bias[i % bias.length]);
    return { ...layer, kernel: tf.tensor2d(values, shape), bias: tf.tensor1d(repeated) };
  }
  const [size, , channels, inputs] = shape, outputs = 4 * channels, taps = Math.ceil(size / 2);
  const phases = phasesAsChannels(values, shape), kernel = tf.tensor4d(phases, [taps, taps, inputs, outputs]);
  const back = new Float32Array(phases.length); // turned by half a circle, with inputs and outputs exchanged
  for (let i = 0; i < taps * taps; i++)
    for (let input = 0; input < inputs; input++)
      for (let output = 0; output < outputs; output++)
        back[((taps * taps - 1 - i) * outputs + output) * inputs + input] = phases[(i * inputs + input) * outputs + output];
  const [before, after] = layer.padding;
  return {
    ...layer, kernel, bias: tf.tensor1d(bias), back: tf.tensor4d(back, [taps, taps, outputs, inputs]),
    pairs: layer.side / 2 + before + after - taps + 1, backPadding: [taps - 1 - before, taps - 1 - after],
  };
}

/**
 * Rearrange a kernel (k, k, c_out, c_in) to (taps, taps, c_in, 4 c_out), by which an ordinary convolution computes four phases: tap
 * a = 2 t + r becomes tap t, reversed, of phase r.
 */
function phasesAsChannels(values, [size, , channels, inputs]) {
  const taps = Math.ceil(size / 2), phases = new Float32Array(taps * taps * inputs * 4 * channels);
  for (let a = 0; a < size; a++)
    for (let b = 0; b < size; b++) {
      const place = (taps - 1 - (a >> 1)) * taps + (taps - 1 - (b >> 1)), phase = (a % 2) * 2 + (b % 2);
      for (let output = 0; output < channels; output++)
        for (let input = 0; input < inputs; input++)
          phases[((place * inputs + input) * 4 + phase) * channels + output] = values[((a * size + b) * channels + output) * inputs + input];
    }
  return phases;
}

/** Decode (n, d) codes that are projected already. Returns the results of all layers, the images last; call it within tf.tidy. */
function forward(codes) {
  const results = [];
  let net = codes;
  for (const layer of model.layers) {
    const activation = layer.activation === "relu" ? "relu" : "linear";
    if (!layer.padding) {
      net = tf.fused.matMul({ a: net, b: layer.kernel, bias: layer.bias, activation });
      net = tf.reshape(net, [-1, layer.side, layer.side, layer.channels]);
    } else {
      net = tf.pad(net, [[0, 0], layer.padding, layer.padding, [0, 0]]);
      net = tf.fused.conv2d({ x: net, filter: layer.kernel, strides: 1, pad: "valid", bias: layer.bias, activation });
      net = interleave(net, layer);
    }
    if (layer.activation === "tanh") net = tf.tanh(net);
    results.push(net);
  }
  return results;
}

/** Turn the four phases, which are channels, into pixels: (n, s, s, 4 c) -> (n, side, side, c). */
function interleave(blocks, { pairs, channels, side, crop }) {
  const rows = tf.transpose(tf.reshape(blocks, [-1, pairs, 2, 2 * channels]), [0, 2, 1, 3]);
  const image = tf.reshape(rows, [-1, 2 * pairs, 2 * pairs, channels]);
  return crop ? tf.slice(image, [0, crop, crop, 0], [-1, side, side, -1]) : image;
}

function separate(image, { pairs, channels, crop }) {
  const whole = crop ? tf.pad(image, [[0, 0], [crop, crop], [crop, crop], [0, 0]]) : image;
  const rows = tf.transpose(tf.reshape(whole, [-1, 2, pairs, 2 * channels]), [0, 2, 1, 3]);
  return tf.reshape(rows, [-1, pairs, pairs, 4 * channels]);
}

/** Return the gradient (n, d) with respect to the codes, given that for the images and the results of all layers. */
function backward(gradient, results) {
  let grad = gradient;
  for (let number = model.layers.length - 1; number >= 0; number--) {
    const layer = model.layers[number], result = results[number];
    const slope = layer.activation === "tanh" ? tf.sub(1, tf.square(result)) : tf.cast(tf.greater(result, 0), "float32");
    grad = tf.mul(grad, slope);
    if (!layer.padding) return tf.matMul(tf.reshape(grad, [-1, layer.kernel.shape[1]]), layer.kernel, false, true);
    const padding = layer.backPadding;
    grad = tf.pad(separate(grad, layer), [[0, 0], padding, padding, [0, 0]]);
    grad = tf.conv2d(grad, layer.back, 1, "valid");
  }
  return grad;
}

/** Decode (n, d) codes into n images of red, green, blue and opacity. */
async function decode({ codes, asItIs = false }) {
  const { dims, description: { image_size: size, projection } } = model, count = codes.length / dims;
  const pixels = new Uint8ClampedArray(count * size * size * 4);
  const began = performance.now();
  for (let first = 0; first < count; first += ROWS_AT_ONCE) {
    const rows = codes.slice(first * dims, (first + ROWS_AT_ONCE) * dims);
    if (!asItIs) for (let i = 0; i < rows.length; i += dims) rows.set(project(rows.subarray(i, i + dims), projection), i);
    const images = tf.tidy(() => forward(tf.tensor2d(rows, [rows.length / dims, dims])).at(-1));
    try {
      copyPixels(await images.data(), pixels, first * size * size * 4);
    } finally {
      images.dispose();
    }
  }
  return { pixels, milliseconds: (performance.now() - began) / count };
}

function copyPixels(values, pixels, offset = 0) {
  for (let from = 0, to = offset; from < values.length; from += 3, to += 4) {
    for (let channel = 0; channel < 3; channel++) pixels[to + channel] = (values[from + channel] + 1) * 127.5;
    pixels[to + 3] = 255;
  }
}

/** Return the numbers of the k training codes that are nearest to a code, and the angles between them in degrees. */
function nearest({ code, k }) {
  const wanted = project(code, model.description.projection), all = model.arrays.codes.values, dims = model.dims;
  const distances = Float32Array.from({ length: all.length / dims }, (_, row) => {
    let sum = 0;
    for (let i = 0, j = row * dims; i < dims; i++, j++) sum += (all[j] - wanted[i]) ** 2;
    return sum;
  });
  const numbers = [];
  for (let rank = 0; rank < Math.min(k, distances.length); rank++) {
    let best = 0;
    for (let row = 1; row < distances.length; row++) if (distances[row] < distances[best]) best = row;
    numbers.push(best);
    distances[best] = Infinity;
  }
  return { numbers, angles: numbers.map((row) => angle(wanted, rowOf(row))) };
}

const rowOf = (row) => model.arrays.codes.values.subarray(row * model.dims, (row + 1) * model.dims);

/** Draw n codes from a prior, projected; equal seeds give equal codes. */
function sample({ prior, n, seed }) {
  const number = model.description.priors.findIndex(({ name }) => name === prior), described = model.description.priors[number];
  if (!described) throw new Error(`there is no prior ${prior}`);
  const part = (name) => model.arrays[`priors/${number}/${name}`], random = gaussian(seed), codes = new Float32Array(n * model.dims);
  for (let i = 0; i < n; i++) codes.set(project(drawers[described.kind](described, part, random), model.description.projection), i * model.dims);
  return codes;
}

const drawers = {
  gaussian: (_, part, random) => add(part("mean").values, times(part("factor"), random)),
  mixture: (_, part, random) => {
    const { values: shares } = part("shares"), { values: means } = part("means"), { values: factors } = part("factors"), { dims } = model;
    let left = random.uniform(), which = 0;
    while (which < shares.length - 1 && left >= shares[which]) left -= shares[which++];
    const factor = { shape: [dims, dims], values: factors.subarray(which * dims * dims, (which + 1) * dims * dims) };
    return add(means.subarray(which * dims, (which + 1) * dims), times(factor, random));
  },
  kernel: ({ noise_size: size }, part, random) => {
    const { values: mean } = part("mean"), chosen = add(rowOf(random.below(model.description.num_codes)), mean, -1);
    return add(add(mean, chosen, Math.sqrt(1 - size ** 2)), times(part("factor"), random), size);
  },
  neighbours: ({ num_neighbours: k }, _, random) => {
    const start = rowOf(random.below(model.description.num_codes));
    const { numbers } = nearest({ code: start, k: k + 1 }); // the first is the code itself
    return move(start, rowOf(numbers[1 + random.below(numbers.length - 1)]), 0.5 * random.uniform(), model.description.projection);
  },
  stored: ({ num_samples: count }, part, random) => {
    const row = random.below(count);
    return part("samples").values.slice(row * model.dims, (row + 1) * model.dims);
  },
};

/** Multiply a vector from N(0, I) by standard deviations (d,) or by a matrix (d, d). */
function times({ values, shape }, random) {
  const noise = Float32Array.from({ length: model.dims }, random.draw);
  if (shape.length === 1) return noise.map((value, i) => value * values[i]);
  return Float32Array.from({ length: model.dims }, (_, row) => dot(noise, values.subarray(row * model.dims, (row + 1) * model.dims)));
}

/**
 * Search for the code of an image, as `glo_lib.inference.encoding.encode` does: Adam through the decoder from four starts, with projection
 * after each step and a rate that falls along half a cosine.
 *
 * Reports the step, the error of each start, and the best image so far. The error is the mean squared error of pixels in [-1, 1].
 */
async function encode({ pixels, steps, seed = 0, every = 5 }, report) {
  const { dims, description: { image_size: size, projection, search } } = model;
  steps ??= search.steps;
  stopped = false;
  const target = Float32Array.from(pixels, (value) => value / 127.5 - 1); // (size, size, 3)
  const starts = startingCodes(target, gaussian(seed)), count = starts.length;
  const codes = new Float32Array(count * dims), first = new Float32Array(count * dims), second = new Float32Array(count * dims);
  starts.forEach((start, i) => codes.set(project(start, projection), i * dims));
  const best = { error: Infinity, code: codes.slice(0, dims), step: 0, start: 0 };
  const wanted = tf.tensor4d(target, [1, size, size, 3]);
  const rate = search.learning_rate / (projection === "none" ? 1 : Math.sqrt(dims)); // without a projection entries are of size 1
  try {
    for (let step = 0; step <= steps && !stopped; step++) {
      const { errors, gradient, image } = await differentiate(codes, count, wanted);
      errors.forEach((error, start) => {
        if (error < best.error) Object.assign(best, { error, code: codes.slice(start * dims, (start + 1) * dims), step, start });
      });
      if (step % every === 0 || step === steps) {
        report({ step, steps, errors, best: best.error, pixels: image(errors.indexOf(Math.min(...errors))) });
        await new Promise((resolve) => setTimeout(resolve)); // lets "stop" in
      }
      adam(codes, gradient, first, second, step + 1, rate * 0.5 * (1 + Math.cos((Math.PI * step) / steps)));
      for (let i = 0; i < count; i++) codes.set(project(codes.subarray(i * dims, (i + 1) * dims), projection), i * dims);
    }
  } finally {
    wanted.dispose();
  }
  return best;
}

function startingCodes(target, random) {
  const { description: { image_size: size, search: { side } }, arrays } = model, small = shrink(target, size, Math.min(side, size));
  const { values: weights } = arrays["search/weights"], { values: intercept } = arrays["search/intercept"], mean = arrays["codes/mean"].values;
  const deviation = { values: arrays["search/deviation"].values, shape: [model.dims] };
  const regression = intercept.map((value, i) => small.reduce((sum, pixel, j) => sum + pixel * weights[j * model.dims + i], value));
  return [regression, mean, add(mean, times(deviation, random)), add(mean, times(deviation, random))];
}

/** Return what a step of the search sees at some codes: the error of each, and the gradients (n, d). */
async function gradient({ codes, pixels }) {
  const size = model.description.image_size, target = Float32Array.from(pixels, (value) => value / 127.5 - 1);
  const wanted = tf.tensor4d(target, [1, size, size, 3]);
  try {
    const found = await differentiate(codes, codes.length / model.dims, wanted);
    return { errors: found.errors, gradient: found.gradient };
  } finally {
    wanted.dispose();
  }
}

/** Average blocks of pixels: (size, size, 3) -> (side, side, 3). */
function shrink(image, size, side) {
  const block = size / side, small = new Float32Array(side * side * 3);
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++)
      for (let channel = 0; channel < 3; channel++)
        small[(Math.floor(y / block) * side + Math.floor(x / block)) * 3 + channel] += image[(y * size + x) * 3 + channel] / block ** 2;
  return small;
}

/** Return the error of each code, the gradients, and a function that gives the pixels of a decoded image. */
async function differentiate(codes, count, wanted) {
  const { dims, description: { image_size: size, projection } } = model, numbers = size * size * 3;
  const [errors, gradient, images] = tf.tidy(() => {
    const results = forward(tf.tensor2d(codes, [count, dims])), difference = tf.sub(results.at(-1), wanted);
    return [tf.mean(tf.square(difference), [1, 2, 3]), backward(tf.mul(difference, 2 / numbers), results), results.at(-1)];
  });
  const tensors = [errors, gradient, images];
  const [errorValues, slopes, values] = await Promise.all(tensors.map((tensor) => tensor.data())).finally(() => tf.dispose(tensors));
  // On the sphere the gradient is taken through the projection, which keeps the part along the sphere.
  if (projection === "sphere") {
    for (let i = 0; i < count * dims; i += dims) {
      const code = codes.subarray(i, i + dims), slope = slopes.subarray(i, i + dims);
      slope.set(add(slope, code, -dot(slope, code)));
    }
  }
  const image = (row) => {
    const pixels = new Uint8ClampedArray(size * size * 4);
    copyPixels(values.subarray(row * numbers, (row + 1) * numbers), pixels);
    return pixels;
  };
  return { errors: Array.from(errorValues), gradient: slopes, image };
}

function adam(codes, gradient, first, second, step, rate) {
  const corrected = (rate * Math.sqrt(1 - 0.999 ** step)) / (1 - 0.9 ** step);
  for (let i = 0; i < codes.length; i++) {
    first[i] = 0.9 * first[i] + 0.1 * gradient[i];
    second[i] = 0.999 * second[i] + 0.001 * gradient[i] ** 2;
    codes[i] -= (corrected * first[i]) / (Math.sqrt(second[i]) + 1e-8);
  }
}
