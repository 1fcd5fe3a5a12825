// Calculations with latent codes, for the page and for its worker. Codes are Float32Arrays of d numbers.
"use strict";
globalThis.glo = (() => {
  const dot = (a, b) => {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
    return sum;
  };
  const norm = (code) => Math.sqrt(dot(code, code));
  const scale = (code, factor) => Float32Array.from(code, (value) => value * factor);
  /** Return a + factor * b. */
  const add = (a, b, factor = 1) => Float32Array.from(a, (value, i) => value + factor * b[i]);

  /** Project a code as in training: onto the unit sphere, into the unit ball, or not at all. */
  function project(code, projection) {
    const length = norm(code);
    if (projection === "sphere") return length > 1e-6 ? scale(code, 1 / length) : code;
    if (projection === "ball") return length > 1 ? scale(code, 1 / length) : code;
    return code;
  }

  /** Return the angle between two codes, in degrees. */
  function angle(a, b) {
    const lengths = norm(a) * norm(b);
    return lengths ? (Math.acos(Math.min(1, Math.max(-1, dot(a, b) / lengths))) * 180) / Math.PI : 0;
  }

  /** Return the point of the straight line at a share of the way. */
  const onLine = (start, end, share) => add(scale(start, 1 - share), end, share);

  /**
   * Return the point of the great circle at a share of the way; the norm changes linearly. Between opposite ends it is the half circle of
   * `glo_lib.inference.interpolation.interpolate`.
   */
  function onCircle(start, end, share) {
    const radians = (angle(start, end) * Math.PI) / 180;
    const [first, last] = [norm(start), norm(end)];
    if (radians < 1e-4 || !first || !last) return onLine(start, end, share);
    if (Math.PI - radians < 1e-4) return onHalfCircle(start, end, share);
    const direction = add(
      scale(start, Math.sin((1 - share) * radians) / Math.sin(radians) / first), end, Math.sin(share * radians) / Math.sin(radians) / last,
    );
    return scale(direction, (1 - share) * first + share * last);
  }

  /** Return the point of the half circle between opposite ends, towards the axis to which the start is most nearly perpendicular. */
  function onHalfCircle(start, end, share) {
    if (start.length === 1) return share < 0.5 ? start : end;
    const direction = scale(start, 1 / norm(start)), sizes = start.map(Math.abs), number = sizes.indexOf(Math.min(...sizes));
    const across = add(start.map((_, i) => (i === number ? 1 : 0)), direction, -direction[number]);
    const middle = scale(across, (norm(start) + norm(end)) / 2 / norm(across));
    return share < 0.5 ? onCircle(start, middle, 2 * share) : onCircle(middle, end, 2 * share - 1);
  }

  /** Move a code part of the way to another, as `glo_lib.inference.priors.neighbours.move_codes` does. */
  function move(code, target, share, projection) {
    if (projection !== "sphere") return onLine(code, target, share);
    return norm(add(target, code, -dot(code, target))) > 1e-6 ? onCircle(code, target, share) : code; // opposite codes have no one way
  }

  /** Return a function that draws from N(0, 1); equal seeds give equal numbers (mulberry32, and the method of Box and Muller). */
  function gaussian(seed) {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const draw = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    return { draw, uniform, below: (count) => Math.min(count - 1, Math.floor(uniform() * count)) };
  }

  /** Return the value of a float16 that is given as 16 bits. */
  function fromHalf(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  }

  /** Return the 16 bits of the float16 that is nearest to a number; numbers too large become infinite. */
  function toHalf(value) {
    const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0, size = Math.abs(value);
    if (Number.isNaN(value)) return 0x7e00;
    if (size >= 65520) return sign | 0x7c00;
    const exponent = Math.max(-14, Math.floor(Math.log2(size || 2 ** -24)));
    const steps = Math.round(size / 2 ** (exponent - 10)); // 1024 to 2048, or fewer below the smallest normal number
    return sign | (steps < 1024 ? steps : steps === 2048 ? (exponent + 16) << 10 : ((exponent + 15) << 10) | (steps - 1024));
  }

  /** Round a code to the numbers that its text can hold. */
  const rounded = (code) => Float32Array.from(code, (value) => fromHalf(toHalf(value)));

  /** Write a code as text for an address: float16, in the alphabet of base64 that is safe in addresses. */
  function toText(code) {
    const halves = Uint16Array.from(code, toHalf), bytes = new Uint8Array(2 * halves.length);
    halves.forEach((half, i) => { bytes[2 * i] = half & 255; bytes[2 * i + 1] = half >> 8; });
    return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  }

  /** Read a code from such a text; null if it is none of d finite numbers. */
  function fromText(text, dims) {
    try {
      const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
      if (bytes.length !== 2 * dims) return null;
      const code = Float32Array.from({ length: dims }, (_, i) => fromHalf(bytes.charCodeAt(2 * i) | (bytes.charCodeAt(2 * i + 1) << 8)));
      return code.every(Number.isFinite) ? code : null;
    } catch {
      return null;
    }
  }

  return { dot, norm, scale, add, project, angle, onLine, onCircle, move, gaussian, fromHalf, toHalf, rounded, toText, fromText };
})();
