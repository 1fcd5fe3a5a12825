"""Drawing of one portrait of ``glo_lib.faces``: geometry, light, features and camera.

The head is a stack of ellipses: at each height it has a half width and a half depth. A rotated ellipse is again an ellipse, so the
surface point behind every pixel has a closed form, and a feature on this surface (an eye, a lip, a brow) is foreshortened as on a turned
head. Small relief (nose, eye sockets, cheeks, lips) is added to the depth; the normals are then computed from the slope of the depth.

Lengths are in head units: one pixel of a frontal face. The origin lies between the eyes, x points to the right of the picture and y down.
Colours are linear light (the square of the stored value), in planes of shape (3, height, width), until ``_develop`` encodes them.
"""

import math
from functools import lru_cache
from types import SimpleNamespace

import numpy as np

HEIGHT, WIDTH = 218, 178
EYE_ROW, EYE_COLUMN, EYE_HALF = 111.5, 88.5, 19.0  # pixels: positions of the eyes after the alignment of CelebA
TABLE_FIRST, TABLE_STEP, TABLE_SIZE = -130.0, 0.125, 2400  # heights of the tables of outlines, head units

SKIN_TONES = ((243, 211, 194), (237, 198, 174), (228, 180, 150), (208, 154, 120), (178, 122, 88), (140, 90, 62), (100, 62, 44))
HAIR_COLOURS = {"black": (26, 22, 22), "brown": (84, 56, 38), "blond": (188, 156, 114), "red": (132, 66, 40), "grey": (158, 156, 154)}
EYE_COLOURS = {"brown": (92, 56, 30), "hazel": (126, 96, 52), "green": (98, 124, 84), "blue": (96, 136, 172), "grey": (128, 140, 148)}


# ---------------------------------------------------------------------------------------------------------------- small tools
def _linear(rgb):
    """Return the linear light of a stored colour 0..255."""
    return (np.asarray(rgb, np.float32) / 255.0) ** 2


def _hue(hue, saturation, value):
    """Return the linear light of a hue (1.0 is a full circle) with saturation and value in [0, 1]."""
    wheel = np.clip(np.abs((hue + np.array([0.0, 2 / 3, 1 / 3])) % 1.0 * 6 - 3) - 1, 0, 1)
    return (value * (1 - saturation + saturation * wheel)).astype(np.float32) ** 2


def _mix(a, b, amount):
    return a + (b - a) * amount


def _cover(distance):
    """Return the coverage of a pixel whose centre is this many pixels inside an edge, for antialiased outlines."""
    return np.minimum(np.maximum(distance + 0.5, 0.0), 1.0)


def _smooth(low, high, x):
    s = np.minimum(np.maximum((x - low) * (1.0 / (high - low)), 0.0), 1.0)  # half the cost of np.clip
    return s * s * (3.0 - 2.0 * s)


def _bump(x, y, sx, sy):
    """Return a round hill of height one that is zero outside the ellipse with half axes sx, sy; six times as fast as a Gaussian."""
    r = np.maximum(1.0 - (x * (1.0 / sx)) ** 2 - (y * (1.0 / sy)) ** 2, 0.0)
    return r * r


def _paint(planes, colour, alpha):
    """Blend a colour (three numbers or three planes) over the planes, in place."""
    for plane, tint in zip(planes, colour, strict=True):
        step = (tint if np.ndim(tint) else float(tint)) - plane
        step *= alpha
        plane += step  # `float` above, because a NumPy scalar would convert everything to float64


@lru_cache(maxsize=1)
def _tiles():
    """Return periodic noise, the same in every process: isotropic in four sizes, strands, and fine grain."""
    rng = np.random.default_rng(20180801)

    def smoothed(shape, sigmas):
        fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
        spectrum = np.fft.rfft2(rng.standard_normal(shape)) * np.exp(-2 * np.pi**2 * ((fy * sigmas[0]) ** 2 + (fx * sigmas[1]) ** 2))
        noise = np.fft.irfft2(spectrum, shape)
        return (noise / noise.std()).astype(np.float32)

    strands = 0.55 * smoothed((1024, 256), (3.5, 14)) + 0.6 * smoothed((1024, 256), (9, 22)) + 0.6 * smoothed((1024, 256), (26, 34))
    return SimpleNamespace(
        fine=smoothed((256, 256), (0.8, 0.8)),
        medium=smoothed((256, 256), (2.2, 2.2)),
        curls=smoothed((256, 256), (3.4, 3.4)),
        broad=smoothed((256, 256), (11, 11)),
        strands=(strands / strands.std()).astype(np.float32),
        grain=(0.8 * smoothed((512, 512), (0.55, 0.55)) + 0.6 * smoothed((512, 512), (1.2, 1.2))).astype(np.float32),
    )


def _noise(tile, a, b):
    """Look up a tile at rows a and columns b, which are float arrays of any values, because the tile is periodic."""
    rows, columns = tile.shape
    place = (a.astype(np.int32) & (rows - 1)) * columns + (b.astype(np.int32) & (columns - 1))
    return tile.ravel().take(place)


def _slopes(depth):
    """Return the central differences of a plane along x and along y."""
    dx, dy = np.zeros_like(depth), np.zeros_like(depth)
    dx[:, 1:-1] = 0.5 * (depth[:, 2:] - depth[:, :-2])
    dy[1:-1] = 0.5 * (depth[2:] - depth[:-2])
    return dx, dy


def _look_up(table, heights):
    index = (heights - TABLE_FIRST) * (1.0 / TABLE_STEP)
    return table[np.clip(index, 0, TABLE_SIZE - 1).astype(np.int32)]


# ------------------------------------------------------------------------------------------------------------------- geometry
def _head_tables(f):
    """Return the half width and the half depth of the head at every tabulated height."""
    y = TABLE_FIRST + TABLE_STEP * np.arange(TABLE_SIZE)
    width = 41.0 * f.face_width
    chin = 63.0 * f.face_length + 2.0 * f.masculine + (3.0 if f.beard == "full" else 0.0)
    top, level = -64.0, 4.0
    low = np.clip((y - level) / (chin - level), 0, 1)
    power, root = 1.50 + 1.0 * f.jaw + 0.35 * f.cheek, 0.60 - 0.13 * f.jaw - 0.05 * f.cheek
    jaw = (1 - low**power) ** root
    jaw *= 1 - (0.07 - 0.05 * f.jaw) * np.exp(-(((low - 0.62) / 0.2) ** 2))  # a slight hollow between cheekbone and jaw
    up = np.clip((y + 18.0) / (top + 18.0), 0, 1)
    skull = (1 - up**2.3) ** (1 / 2.1)
    temple = 1 - 0.035 * np.exp(-(((y + 14) / 9.0) ** 2))
    half_width = width * np.where(y > level, jaw, skull * temple)
    if f.beard == "full":
        half_width *= 1 + 0.05 * _smooth(8, 40, y)
    front_low = (1 - np.clip((y - 8.0) / (chin - 8.0), 0, 1) ** 3.4) ** (1 / 2.6)
    front_up = (1 - np.clip((y + 22.0) / (top + 22.0), 0, 1) ** 2.2) ** (1 / 2.0)
    half_depth = 46.0 * np.where(y > 0, front_low, front_up)
    return y, half_width, half_depth, chin, width


def _geometry(f):
    """Return the geometry of the head: its tables, its view, and the head coordinates of the pixels."""
    g = SimpleNamespace()
    g.heights, wide, deep, g.chin, g.width = _head_tables(f)
    g.wide, g.deep = wide.astype(np.float32), deep.astype(np.float32)
    g.sin, g.cos = math.sin(math.radians(f.yaw)), math.cos(math.radians(f.yaw))
    g.nod = math.sin(math.radians(f.pitch))
    g.eye = EYE_HALF * f.eye_spacing
    row = int((0.0 - TABLE_FIRST) / TABLE_STEP)
    g.eye_depth = float(deep[row] * math.sqrt(1 - float(g.eye / wide[row]) ** 2))
    # As in CelebA, a similarity transform moves the eyes of a turned head to their two fixed pixels.
    g.unit = g.eye * g.cos / EYE_HALF  # head units in one pixel
    g.shift = g.eye_depth * g.sin  # how far the turn has moved the eyes along x
    g.x = ((np.arange(WIDTH, dtype=np.float32) - EYE_COLUMN) * g.unit + g.shift)[None, :].astype(np.float32)
    g.y = ((np.arange(HEIGHT, dtype=np.float32) - EYE_ROW) * g.unit)[:, None].astype(np.float32)
    return g


def _pixel(g, x, y):
    """Return the pixel (column, row) of view coordinates."""
    return (x - g.shift) / g.unit + EYE_COLUMN, y / g.unit + EYE_ROW


def _project(g, x, y, z=0.0):
    """Return the view coordinates of a point of the face, given by its place on the frontal face and its height z above the surface."""
    row = np.clip(int((y - TABLE_FIRST) / TABLE_STEP), 0, TABLE_SIZE - 1)
    ratio = min(max(x / max(float(g.wide[row]), 1e-3), -1.0), 1.0)
    depth = float(g.deep[row]) * math.sqrt(1 - ratio**2) + z
    return x * g.cos + depth * g.sin, y + g.nod * (depth - g.eye_depth)


def _window(g, left, right, top, bottom):
    """Return the slices of the canvas that contain these view coordinates."""
    (c0, r0), (c1, r1) = _pixel(g, left, top), _pixel(g, right, bottom)
    rows = slice(int(np.clip(r0, 0, HEIGHT - 1)), int(np.clip(r1 + 2, 1, HEIGHT)))
    columns = slice(int(np.clip(c0, 0, WIDTH - 1)), int(np.clip(c1 + 2, 1, WIDTH)))
    return rows, columns


def _surface(g, rows, columns):
    """Return the surface of the head behind the pixels of a window: place on the frontal face, depth towards the viewer, coverage."""
    vx, vy = g.x[:, columns], g.y[rows]
    heights = np.broadcast_to(vy, (vy.shape[0], vx.shape[1]))
    nod = g.nod * _smooth(g.chin, g.chin - 35, vy)  # less nod near the chin, where the depth changes so fast that the surface would fold
    for _ in range(2 if abs(g.nod) > 1e-3 else 1):  # the nod moves a point by its depth, which the first pass estimates
        wide, deep = _look_up(g.wide, heights), _look_up(g.deep, heights)
        across, along = wide * g.cos, deep * g.sin
        half = across**2 + along**2 + 1e-3
        inside = half - vx**2 - 0.6  # negative where the outline has closed
        span = np.sqrt(half)
        t = np.clip(vx / span, -1, 1)
        root = np.sqrt(np.maximum(1 - t * t, 1e-4))
        cos0, sin0 = across / span, along / span
        x, z = wide * (cos0 * t - sin0 * root), deep * (sin0 * t + cos0 * root)
        heights = vy - nod * (z - g.eye_depth)
    _, dy = _slopes(inside)
    distance = inside / np.sqrt(4 * vx**2 * g.unit**2 + dy**2 + 1e-2)
    return SimpleNamespace(
        rows=rows,
        columns=columns,
        vx=vx,
        vy=vy,
        x=x,
        y=heights,
        z=z,
        depth=z * g.cos - x * g.sin,
        cover=_cover(distance),
        distance=distance,
    )


# ---------------------------------------------------------------------------------------------------------------------- light
def _lamp(f):
    """Return the direction and colour of the key light, and the colour of the ambient light."""
    azimuth, height = np.radians(f.light_angle), np.radians(f.light_height)
    key = np.array([np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height)])
    half = key + np.array([0.0, 0.0, 1.0])
    warm = np.array([1 + 0.10 * f.light_warmth, 1.0, 1 - 0.14 * f.light_warmth])
    strength = 0.70 + 0.42 * f.light_strength
    return SimpleNamespace(
        key=key.astype(np.float32),
        half=(half / np.linalg.norm(half)).astype(np.float32),
        colour=(strength * warm).astype(np.float32),
        ambient=((0.42 - 0.29 * f.light_strength) * (2 - warm) * np.array([1.0, 0.97, 0.98])).astype(np.float32),
    )


def _light_skin(albedo, normal, occlusion, shadow, lamp, gloss):
    """Return the linear light that leaves skin: wrapped Lambert (red wraps furthest, for a warm terminator), sky and two highlights."""
    nx, ny, nz = normal
    facing = nx * lamp.key[0] + ny * lamp.key[1] + nz * lamp.key[2]
    sky = 0.82 - 0.24 * ny
    out = np.empty((3, *nx.shape), np.float32)
    for channel, wrap in enumerate((0.34, 0.18, 0.12)):
        diffuse = np.maximum((facing + wrap) * (1 / (1 + wrap)), 0)
        dark = 1 - shadow * (0.80, 0.92, 1.0)[channel]
        out[channel] = albedo[channel] * (lamp.colour[channel] * diffuse * dark + lamp.ambient[channel] * sky * occlusion)
    mirror = np.maximum(nx * lamp.half[0] + ny * lamp.half[1] + nz * lamp.half[2], 0)
    m4 = mirror**2
    m4 *= m4
    m16 = m4 * m4
    m16 *= m16
    edge = 1 - np.minimum(nz, 1)
    shine = (
        gloss
        * (0.05 * m4 + 0.13 * m16 * m4 + 0.10 * edge * edge * (0.3 + np.maximum(nx * lamp.key[0], 0)) * _smooth(0.5, -0.2, ny))
        * (1 - shadow)
    )
    for channel in range(3):
        out[channel] += shine * lamp.colour[channel]
    return out


def _normals(depth, unit):
    dx, dy = _slopes(depth)
    length = 1.0 / np.sqrt(dx * dx + dy * dy + unit * unit)
    return -dx * length, -dy * length, unit * length


# ----------------------------------------------------------------------------------------------------------------- background
def _background(f, g, rng):
    """Return the background: a gradient and large soft shapes, computed at a quarter of the size and enlarged."""
    a, b = math.cos(math.radians(f.roll)), math.sin(math.radians(f.roll))
    half_width, half_height = WIDTH // 2 + 2, HEIGHT // 2 + 2  # two cells more than needed for each halving, because doubling drops them
    px = (-4.5 + 4 * np.arange(half_width // 2 + 3, dtype=np.float32) - EYE_COLUMN)[None, :] / 100
    py = (-4.5 + 4 * np.arange(half_height // 2 + 3, dtype=np.float32) - EYE_ROW)[:, None] / 100
    x, y = a * px + b * py, a * py - b * px
    value = f.background_value
    calm = 0.6 * f.background_colour
    first = _hue(f.background_hue, calm, value)
    second = _hue(f.background_hue + rng.uniform(-0.12, 0.12), calm * rng.uniform(0.5, 1.2), value * rng.uniform(0.35, 0.9))
    turn = rng.uniform(0, 2 * np.pi)
    ramp = _smooth(-1.2, 1.2, x * np.cos(turn) + y * np.sin(turn))
    planes = np.empty((3, *ramp.shape), np.float32)
    for c in range(3):
        planes[c] = first[c] + (second[c] - first[c]) * ramp
    if f.background == "studio":
        glow = 1.0 / (1.0 + 1.6 * ((x - rng.uniform(-0.4, 0.4)) ** 2 + (y + rng.uniform(-0.2, 0.5)) ** 2))
        planes *= 0.45 + 0.95 * glow
    elif f.background == "garden":
        for _ in range(26):
            cx, cy, r = rng.uniform(-1, 1), rng.uniform(-1.2, 1.2), rng.uniform(0.12, 0.42)
            leaf = _hue(rng.choice([0.22, 0.27, 0.33, 0.15, 0.55]), rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.9) * value**0.5)
            _paint(planes, leaf, 0.6 * _bump(x - cx, y - cy, r, r * rng.uniform(0.6, 1.4)))
    elif f.background == "lights":
        planes *= 0.6
        for _ in range(22):
            cx, cy, r = rng.uniform(-1, 1), rng.uniform(-1.2, 0.9), rng.uniform(0.10, 0.20)
            tint = _hue(rng.choice([0.08, 0.1, 0.12, 0.58, 0.95]), rng.uniform(0.1, 0.65), rng.uniform(0.6, 1.0))
            disc = _smooth(r, r * 0.55, np.sqrt((x - cx) ** 2 + (y - cy) ** 2))
            _paint(planes, tint, disc * rng.uniform(0.08, 0.5))
    elif f.background == "room":
        for _ in range(5):
            cx, w = rng.uniform(-1, 1), rng.uniform(0.12, 0.5)
            band = _smooth(w, w * 0.55, np.abs(x - cx)) * _smooth(0, 0.25, y + rng.uniform(-0.2, 1.6))
            tint = _hue(f.background_hue + rng.uniform(-0.2, 0.2), rng.uniform(0, 0.4), rng.uniform(0.15, 0.95))
            _paint(planes, tint, 0.65 * band)
    elif f.background == "sky":
        for _ in range(14):
            cx, cy, r = rng.uniform(-1, 1), rng.uniform(-1.2, 1.0), rng.uniform(0.2, 0.6)
            _paint(planes, _hue(0.58, rng.uniform(0.0, 0.2), 0.97), rng.uniform(0.1, 0.55) * _bump(x - cx, y - cy, r, 0.4 * r))
    half = _doubled(_doubled(planes, 1), 2)[:, :half_height, :half_width]
    return _doubled(_doubled(half, 1), 2)


def _doubled(planes, axis):
    """Double the number of samples along an axis by linear interpolation; drop the two outermost cells."""

    def cells(start, stop, step=1):
        return (*[slice(None)] * axis, slice(start, stop, step))

    shape = list(planes.shape)
    shape[axis] = 2 * shape[axis] - 4
    out = np.empty(shape, np.float32)
    middle = 0.75 * planes[cells(1, -1)]
    quarter = 0.25 * planes
    out[cells(0, None, 2)] = middle + quarter[cells(None, -2)]
    out[cells(1, None, 2)] = middle + quarter[cells(2, None)]
    return out


# ----------------------------------------------------------------------------------------------------------------------- body
def _body(planes, f, g, lamp, skin, rng):
    """Draw neck, shoulders and clothes; the body tilts with the roll and follows a part of the turn of the head."""
    rows = slice(int(np.clip(EYE_ROW + 34 / g.unit, 0, HEIGHT)), HEIGHT)
    a, b = math.cos(math.radians(f.roll)), math.sin(math.radians(f.roll))
    vx, vy = g.x, g.y[rows]
    x, y = a * vx + b * vy - 0.25 * g.shift, a * vy - b * vx
    neck = (24.0 + 5.5 * f.masculine) * (0.9 + 0.1 * f.face_width)
    slope = _smooth(g.chin - 12, g.chin + 38, y)
    half = neck * (1 - 0.05 * _smooth(30, 62, y)) + (slope**2.4) * (62 + 16 * f.masculine)
    slant = 1 / np.sqrt(1 + _slopes(half)[1] ** 2)
    cover = _cover((half - np.abs(x)) * slant)
    t = np.clip(x / (half + 1e-3), -1, 1)
    round_neck = np.clip(x / neck, -1.2, 1.2) * 0.80
    nx = _mix(round_neck, t * 0.45, slope)
    ny = -0.15 + 0.1 * slope - 0.55 * slope * np.abs(t) ** 2
    nz = np.sqrt(np.maximum(1 - nx**2 - ny**2, 0.05))
    # The chin casts a shadow on the neck, on the side away from the light.
    drop = y - (g.chin + 2) + 0.012 * (x - g.shift * 0.8 + lamp.key[0] * 10) ** 2
    shade = 0.92 * _smooth(24, -2, drop)
    # Without the sternomastoid cords and the hollow of the throat, the neck would look like a tube.
    cords = 0.30 * _bump(np.abs(x) - np.maximum(neck - 5 - 0.30 * (y - g.chin), 8), y - g.chin - 12, 6, 30)
    hollow = 0.25 * _bump(x, y - g.chin - 27, 6, 7)
    nx = nx - cords * np.sign(x) * 0.6
    albedo = [np.full_like(x, s) for s in skin * np.array([0.97, 0.93, 0.92])]
    lit = _light_skin(albedo, (nx, ny, nz), 0.85 - 0.55 * shade - hollow, np.minimum(shade + hollow, 1), lamp, 0.5)
    _paint(planes[:, rows], lit, cover)
    if f.necklace:
        _necklace(planes[:, rows], x, y, g, cover)
    _clothes(planes[:, rows], f, g, x, y, (t, ny), cover, (half, slant), lamp, rng)


def _necklace(planes, x, y, g, cover):
    line = y - (g.chin + 34 - 0.022 * x**2)
    string = _cover(1.3 - np.abs(line)) * cover * (np.abs(x) < 32)
    beads = 0.6 + 0.4 * np.sin(x * 2.1) * np.cos(line)
    _paint(planes, (0.75 * beads, 0.62 * beads, 0.36 * beads), 0.9 * string)


def _clothes(planes, f, g, x, y, normal, cover, outline, lamp, rng):
    (t, ny), (half, slant) = normal, outline
    base = g.chin + (13 if f.clothing == "suit" else 21)
    ax = np.abs(x)
    calm = 0.45 if f.clothing == "suit" else 1.0  # suits are darker and greyer than shirts
    colour = _hue(f.clothing_hue, 0.75 * calm * f.clothing_colour, 0.92 * (0.15 + 0.85 * calm) * f.clothing_value)
    if f.clothing == "v-neck":
        edge = base + 27 - 1.05 * ax
    elif f.clothing == "scoop":
        edge = base + 20 - 0.024 * ax**2
    elif f.clothing == "roll-neck":
        edge = base - 15 - 0.006 * ax**2
    elif f.clothing == "shirt":
        edge = base + 11 - 0.85 * ax
    elif f.clothing == "suit":
        edge = base - 1 - 0.5 * ax
    else:
        edge = base + 9 - 0.016 * ax**2
    edge = np.maximum(edge, g.chin + 6)
    thickness = 1.6 * _smooth(0, 6, y - edge)
    mask = _cover(np.minimum((y - edge) * 0.75, (half + thickness - ax) * slant))
    # Folds are a few long, soft creases that radiate from the shoulders.
    folds = _noise(_tiles().broad, y * 1.6 + 0.5 * ax + rng.integers(256), x * 1.1 + rng.integers(256))
    weave = 1 + 0.03 * _noise(_tiles().fine, y * 1.5 + 300, x * 1.5 + 300)
    facing = t * 0.55 * lamp.key[0] + ny * lamp.key[1] + np.sqrt(np.maximum(1 - 0.3 * t * t - ny * ny, 0.05)) * lamp.key[2]
    under = 1 - 0.45 * _smooth(20, 0, y - (g.chin + 10) + 0.01 * x**2)
    lit = (np.maximum(facing + 0.25, 0) * 0.72 * lamp.colour.mean() + 0.9 * lamp.ambient.mean()) * (1 + 0.16 * folds) * under * weave
    shadow = 0.35 * _smooth(5, 0, edge - y) * _smooth(-1, 0.5, edge - y)
    for plane in planes:
        plane *= 1 - shadow * cover
    _paint(planes, [c * lit for c in colour], mask)
    if f.clothing in ("crew", "v-neck", "scoop", "roll-neck"):
        hem = _bump(y - edge - 2.2, 0, 2.0, 1) * mask * (1 - 0.6 * (f.clothing == "roll-neck"))
        for plane in planes:
            plane *= 1 - 0.28 * hem
    if f.clothing in ("shirt", "suit"):
        _collar(planes, f, base, x, y, ax, lit, mask, colour, rng)


def _collar(planes, f, base, x, y, ax, lit, mask, colour, rng):
    """Draw the two leaves of a collar; for a suit also the shirt front, the lapels and the tie, if there is one."""
    white = np.array([0.74, 0.75, 0.78], np.float32)
    if f.clothing == "suit":
        opening = 24 - 0.85 * (y - base + 4)
        front = _cover((opening - ax) * 0.75)
        _paint(planes, [c * lit for c in white], front * mask)
        if f.necktie:
            tie = _cover((3.4 + 0.09 * (y - base) - ax) * 0.95) * _cover((y - base - 2.5) * 0.8)
            knot = _cover((4.4 - 0.12 * (y - base) - ax) * 0.95) * _cover((y - base - 0.5) * 0.8) * _cover((base + 7.5 - y) * 0.8)
            tint = _hue(f.clothing_hue + 0.45, 0.65, 0.20 + 0.45 * rng.random())
            stripes = (1 + 0.30 * np.sin((x + y) * (0.7 + 0.5 * rng.random()))) * (1 - 0.25 * np.minimum(ax / 5, 1) ** 2)
            for shape, dim in ((tie, 0.80), (knot, 1.1)):
                _paint(planes, [c * lit * stripes * dim for c in tint], shape * mask)
        lapel = np.maximum(1 - ((ax - opening - 10 + 0.25 * (y - base)) / 1.2) ** 2, 0) * _smooth(base - 6, base + 2, y)
        rim = _bump(ax - opening, 0, 2.0, 1) * (ax > opening) * mask
        for plane in planes:
            plane *= (1 - 0.30 * lapel * mask) * (1 - 0.25 * rim)
    leaf_colour = white if f.clothing == "suit" else np.minimum(colour * 1.2 + 0.015, 0.95)
    inner = base + (-1 - 0.5 * ax if f.clothing == "suit" else 11 - 0.85 * ax)
    deep = 8.5 if f.clothing == "suit" else 10.0
    leaf = (
        _cover((y - inner + 0.5) * 0.75)
        * _cover((inner + deep + 0.12 * ax - y) * 0.75)
        * _cover((28 - ax) * 0.8)
        * _cover((ax - 1.5) * 0.9)
    )
    shade = 1.04 - 0.22 * _smooth(deep - 4, deep + 1, y - inner)
    under = 0.25 * _bump(y - inner - deep - 0.12 * ax - 1.5, 0, 3.0, 1) * (ax < 28) * mask
    for plane in planes:
        plane *= 1 - under
    _paint(planes, [c * lit * shade for c in leaf_colour], leaf)


# ----------------------------------------------------------------------------------------------------------------------- face
def _mouth_shape(f, s):
    """Return the curves of the mouth over a window: mid line, gap and outer edges of both lips (all as heights y), and its half width."""
    half = 14.0 * f.mouth_width * (1 + 0.20 * f.smile)
    centre = 39.5 * f.face_length + 1.0 * f.nose_length
    q = s.x / half
    q2 = np.minimum(q * q, 1.0)
    arc = 1 - q2
    middle = centre + 1.2 * f.smile + (0.1 - 4.3 * f.smile) * q2 + 0.7 * np.minimum(np.abs(q), 1) * arc
    gap = f.mouth_open * (3.0 + 2.6 * f.smile) * arc * (0.6 + 0.4 * arc)
    upper = 4.3 * f.lip_fullness * (1 - 0.25 * f.smile)
    lower = 5.4 * f.lip_fullness * (1 - 0.20 * f.smile)
    bow = 1 - 0.26 * np.maximum(1 - (s.x / 3.4) ** 2, 0) ** 2
    soft = np.sqrt(arc)
    top = middle - gap * 0.35 - upper * (0.45 * soft + 0.55 * arc) * bow
    bottom = middle + gap * 0.65 + lower * (0.75 * soft + 0.25 * arc) * 0.95
    return SimpleNamespace(half=half, centre=centre, q=q, middle=middle, gap=gap, top=top, bottom=bottom, arc=arc, lower=lower)


def _lips_mask(m, s):
    edge = np.minimum(s.y - m.top, m.bottom - s.y) * 0.8
    return np.clip(edge + 0.4, 0, 1) * _smooth(1.02, 0.93, np.abs(m.q))


def _nose_tip(f):
    """Return the height y of the tip of the nose."""
    return 23.0 + 17.5 * (f.nose_length - 1)


def _relief(f, g, s, m):
    """Return the height of the features above the plain head, in head units."""
    x, y, ax = s.x, s.y, np.abs(s.x)
    e, old = g.eye, (f.age - 18) / 57  # 0 young, 1 old
    tip, lift = _nose_tip(f), f.nose_bridge
    h = (0.7 + 1.3 * f.masculine) * _bump(ax - 16, y + 13, 19, 11)
    h -= 3.8 * _bump(ax - e + 4, y + 1.5, 21, 19)
    h += 2.9 * _bump(ax - e, y - 0.5, 13.5, 11)
    h += (1.6 + 2.4 * f.cheek + 2.4 * f.smile) * _bump(ax - 25, y - 21 + 4 * f.smile, 20, 17)
    h -= (1.5 - 1.3 * f.cheek) * _bump(ax - 30, y - 38, 11, 17)
    h += 2.2 * _bump(x, y - m.centre, 25, 21)
    h += (2.0 + 1.4 * f.jaw) * _bump(x, y - g.chin + 9.5, 14, 11)
    h -= 1.5 * _bump(x, y - m.bottom - 2.5, 13, 5)
    h -= 0.9 * _bump(x, y - (tip + m.centre) / 2 - 1.5, 3.2, 7)
    h += 1.2 * _bump(0, y - (m.top + m.middle) / 2, 1, 3.6 * f.lip_fullness) * np.minimum(m.arc * 3, 1)
    h += 2.2 * _bump(0, y - (m.bottom + m.middle + m.gap * 0.6) / 2, 1, 4.4 * f.lip_fullness) * np.minimum(m.arc * 2, 1)
    # Smile lines run from the wing of the nose past the corner of the mouth.
    fold = ax - (11.5 * f.nose_width + (y - tip) * (0.52 + 0.12 * f.smile))
    depth = 0.15 + 0.8 * old + 0.65 * f.smile
    h -= depth * _bump(fold, y - tip - 9, 3.4, 14)
    h += 0.7 * depth * _bump(fold - 4.5, y - tip - 7, 6, 13)
    if old > 0.25:
        wave = np.sin((y + 0.012 * x * x) * 0.85 + 0.02 * f.texture)
        h += 0.32 * (old - 0.25) * wave * _bump(x, y + 31, 30, 15)
        h -= 0.9 * (old - 0.2) * _bump(0, y - 9.5 - 0.01 * (ax - e) ** 2, 1, 3) * _smooth(13, 6, np.abs(ax - e))
    return h + _nose_relief(f, g, x, y, tip, lift)


def _nose_relief(f, g, x, y, tip, lift):
    """Return the height of the nose: a ridge whose crest leans with the turn of the head, a ball and two wings."""
    along = np.clip((y + 9) / (tip + 9), 0, 1)
    rise = (1.0 + 10.6 * along**1.15) * lift
    end = _smooth(tip + 8.0, tip + 0.5, y) * _smooth(-14, 4, y)
    lean = rise * g.sin * 0.85
    wide = (6.8 + 3.6 * along**2) * (0.5 + 0.5 * f.nose_width)
    side = np.where(x > lean, wide - lean, wide + lean)
    u = np.clip((x - lean) / np.maximum(side, 2.0), -1, 1)
    crest = 1 - u * u
    h = rise * end * crest * np.sqrt(crest) * (0.35 + 0.65 * crest)
    ball = 11.0 * g.sin * 0.85 * lift
    h += 3.9 * _bump(x - ball, y - tip, 6.6 * f.nose_width, 7.4)
    wing = np.abs(x - 0.35 * ball) - 7.6 * f.nose_width
    h += 3.4 * _bump(wing, y - tip - 1.2, 4.6, 5.6)
    return h


def _skin_albedo(f, g, s, m, skin):
    """Return the albedo of the skin: redness, freckles, uneven tone and lips."""
    x, y, ax = s.x, s.y, np.abs(s.x)
    tiles, e = _tiles(), g.eye
    mottle = _noise(tiles.broad, y * 2.2 + f.texture, x * 2.2 + 100 + f.texture)
    pores = _noise(tiles.medium, y * 2 + f.texture, x * 2 + 7)
    tone = 1 + 0.018 * mottle + 0.012 * pores
    red = (
        (0.10 + 0.55 * f.blush) * _bump(ax - 25, y - 20, 17, 14) + 0.22 * _bump(x, y - 23, 12, 9) + 0.10 * _bump(x, y - g.chin + 8, 14, 10)
    )
    red += 0.16 * _bump(ax - e, y - 5, 14, 6) + 0.02 * mottle
    yellow = 0.10 * _bump(x, y + 32, 34, 24)
    dark = (0.10 + 0.32 * f.eye_bags) * _bump(ax - e + 1.5, y - 6.5, 11, 5.5) + 0.12 * _bump(ax - e, y + 3, 16, 10)
    if f.freckles > 0:
        spots = _smooth(0.9, 1.9, _noise(tiles.fine, y * 1.9 + f.texture, x * 1.9 + 3 * f.texture))
        dark = dark + 0.42 * f.freckles * spots * (_bump(x, y - 14, 42, 22))
    base = skin[:, None, None] * tone
    albedo = np.empty((3, *x.shape), np.float32)
    for c, (r, w, d) in enumerate(((0.02, 0.05, 0.9), (-0.30, 0.02, 1.0), (-0.26, -0.20, 0.95))):
        albedo[c] = base[c] * (1 + r * red + w * yellow) * (1 - d * dark)
    # Lipstick replaces the colour of the lips, which otherwise is that of the skin, but redder.
    natural = skin * np.array([0.80, 0.50, 0.50]) + np.array([0.022, 0.0, 0.004])
    stick = _hue(0.93 + 0.11 * f.lip_hue, 0.72, 0.80) * (0.35 + 0.65 * skin[0] / 0.9)
    lips = _mix(natural, stick, f.lipstick)
    grooves = 1 + 0.06 * _noise(tiles.strands, x * 14 + 60, y * 4)
    mask = _lips_mask(m, s) * (0.84 + 0.14 * f.lipstick)
    _paint(albedo, [c * grooves for c in lips.astype(np.float32)], mask)
    return albedo


def _beard_mask(f, g, s, m):
    """Return where a beard or moustache grows, 0..1, without the texture of its hair."""
    x, y, ax = s.x, s.y, np.abs(s.x)
    lips = _smooth(-1.5, 1.0, np.maximum(m.top - y, y - m.bottom)) if f.beard != "none" else 0
    lips = np.maximum(lips, _smooth(0.98, 1.08, np.abs(m.q)))
    moustache = (
        _smooth(0, 4, y - (29.6 + 0.016 * ax**2)) * _smooth(4, -1, y - (m.centre + 2.5 - 0.02 * ax)) * _smooth(m.half + 4, m.half - 3, ax)
    )
    moustache *= 1 - 0.35 * _bump(x, y - 32, 2.5, 5)
    goatee = _smooth(17, 8, ax + 0.10 * (y - m.centre)) * _smooth(m.centre + 2, m.centre + 8, y)
    goatee *= 1 - 0.75 * _bump(ax - 9, y - m.bottom - 2, 5.5, 4.5)
    ring = goatee + (1 - goatee) * 0.85 * _smooth(5.0, 0.5, np.abs(ax - m.half - 1)) * _smooth(31, 37, y) * _smooth(
        m.centre + 14, m.centre + 6, y
    )
    line = 27 + 0.0135 * (ax - 6) ** 2 * np.where(ax > 6, -1, 0) + 14 * _smooth(34, 16, ax)
    full = (
        np.maximum(_smooth(-2, 6, y - np.minimum(line, 48)), 0)
        * _smooth(8, 20, y)
        * np.maximum(_smooth(10, 16, ax), _smooth(m.centre, m.centre + 8, y))
    )
    full *= 1 - 0.6 * _bump(ax - 12, y - m.centre - 4, 6, 6)
    if f.beard == "moustache":
        return moustache * lips
    if f.beard == "goatee":
        return np.maximum(moustache, np.minimum(ring, 1)) * lips
    return np.maximum(full, moustache * 0.95) * lips


def _grow_beard(albedo, depth, f, g, s, m, hair, skin):
    if f.beard == "none":
        return
    mask = _beard_mask(f, g, s, m)
    tiles = _tiles()
    if f.beard == "stubble":
        grain = 0.75 + 0.25 * _noise(tiles.fine, s.y * 3.1, s.x * 3.1)
        shade = hair * 0.55 + 0.05
        _paint(albedo, [a * 0.42 + c * 0.35 for a, c in zip(albedo.mean((1, 2)), shade, strict=True)], 0.55 * np.clip(mask * grain, 0, 1))
        return
    strand = _noise(tiles.strands, s.x * 9 + 0.12 * s.x * s.y + 200, s.y * 5 + f.texture)
    curl = _noise(tiles.medium, s.y * 1.7, s.x * 1.7 + f.texture)
    alpha = _smooth(0.05, 0.95, mask + 0.16 * strand * np.sqrt(mask * (1.02 - mask)))
    tone = np.clip(0.78 + 0.20 * strand + 0.14 * curl, 0.25, 1.6)
    _paint(albedo, [c * tone for c in _mix(hair * 0.9, skin * 0.2, 0.25).astype(np.float32)], 0.88 * alpha)
    depth += alpha * (0.9 + 0.35 * curl + 0.28 * strand)


def _brows(albedo, f, g, s, hair, skin):
    ax = np.abs(s.x)
    q = ax - g.eye
    rows = slice(*np.searchsorted(s.vy[:, 0], [-30, 2]))
    y, q, x = s.y[rows], q[rows], s.x[rows]
    line = (
        -12.2
        - 1.8 * f.brow_height
        + 0.012 * (q + 2) ** 2 * (0.3 + 1.1 * f.brow_arch)
        - 2.4 * f.brow_arch * _bump(q - 4, 0, 12, 1)
        - 0.06 * q
    )
    run = np.clip((q + 11.5) / 26, 0, 1)
    thick = (1.15 + 2.1 * f.brow_thickness) * (1 - 0.62 * run**1.6)
    strand = _noise(_tiles().strands, (y * 5 + q * (3.2 - 5.0 * run)) * 2.2 + 40, q * 3 + f.texture)
    offset = (y - line) / thick
    soft = np.maximum(1 - offset * offset * 0.55, 0)
    mask = soft * _smooth(-12.5, -8.0, q) * _smooth(15.5, 9, q) * (0.80 + 0.20 * np.clip(strand, -2, 1.5))
    colour = _mix(hair * 0.55, skin * 0.22, 0.35)
    _paint(albedo[:, rows], [c + 0 * x for c in colour.astype(np.float32)], np.clip(mask, 0, 1) * (0.70 + 0.25 * f.brow_thickness))


def _shadows(f, g, s, lamp, m):
    """Return the occlusion and the soft cast shadow of the features, two planes in 0..1."""
    x, y, ax = s.x, s.y, np.abs(s.x)
    tip = _nose_tip(f)
    occlusion = 1 - 0.42 * _bump(ax - g.eye + 6, y + 1, 14, 11) - 0.16 * _bump(ax - g.eye, y + 5, 15, 7)
    occlusion -= 0.34 * _bump(x, y - tip - 7.0, 10.5 * f.nose_width, 4.5) + 0.30 * _bump(x, y - m.bottom - 2.0, 12, 4)
    occlusion -= 0.35 * _smooth(10, 0, s.distance) ** 2 * _smooth(-20, 30, y)
    occlusion -= 0.30 * _smooth(g.chin - 10, g.chin + 1, y)
    away = -lamp.key[0]
    cast = 0.46 * _bump(x - away * 13 - 8 * g.sin, y - tip - 4.5, 10, 8.0) * _smooth(tip + 1.0, tip + 6.0, y + 0.35 * np.abs(x - away * 12))
    side = x * np.sign(away + 1e-6)
    cast += 0.50 * min(abs(away) * 1.5, 1) * _bump(side - 8.0 * f.nose_width - 4, y - tip + 6, 9, 20)
    cast += 0.35 * min(abs(away) * 1.5, 1) * _bump(side - g.eye + 11, y + 2, 9, 8)
    return np.clip(occlusion, 0.1, 1), np.clip(cast, 0, 0.9)


def _nostrils(planes, f, g, s):
    tip = _nose_tip(f)
    ball = 11.0 * g.sin * 0.85 * f.nose_bridge
    hole = _bump(np.abs(s.x - 0.55 * ball) - 4.1 * f.nose_width, s.y - tip - 4.6 + 0.16 * np.abs(s.x), 3.5, 2.4)
    crease = _bump(np.abs(s.x - 0.4 * ball) - 10.2 * f.nose_width, s.y - tip - 2.0, 2.0, 5.0)
    for plane, keep in zip(planes, (0.72, 0.82, 0.84), strict=True):
        plane *= (1 - keep * hole) * (1 - 0.45 * keep * crease)


def _inner_mouth(planes, f, s, m, lamp):
    """Draw the line between the lips and, if the mouth is open, the dark inside and the upper teeth."""
    corner = _smooth(1.10, 0.9, np.abs(m.q))
    line = np.maximum(1 - ((s.y - m.middle) / (1.15 + 0.5 * f.mouth_open)) ** 2, 0) * corner
    pits = _bump(np.abs(s.x) - m.half, s.y - m.middle, 2.6, 2.2)
    keep = 0.62 * line + 0.40 * pits
    for plane, k in zip(planes, (0.85, 1.0, 1.0), strict=True):
        plane *= 1 - k * keep
    if f.mouth_open <= 0.02:
        return
    roof, floor = m.middle - m.gap * 0.35, m.middle + m.gap * 0.65
    opening = np.clip(np.minimum(s.y - roof, floor - s.y) * 0.9 + 0.3, 0, 1) * _smooth(1.0, 0.9, np.abs(m.q))
    _paint(planes, (0.050, 0.013, 0.012), opening * _smooth(0, 1.4, m.gap))
    edge = roof + m.gap * (0.45 + 0.5 * f.smile) * (0.7 + 0.3 * m.arc)
    light = (lamp.colour.mean() * 0.60 + lamp.ambient.mean()) * 0.80
    shade = light * (0.35 + 0.65 * np.sqrt(np.maximum(m.arc, 0))) * (0.60 + 0.40 * _smooth(0, 2.4, s.y - roof))
    seams = 1 - 0.12 * np.maximum(np.cos(s.x * (2 * np.pi / 3.9) + np.pi), 0) ** 8
    teeth = opening * np.clip((edge - s.y) * 0.9 + 0.5, 0, 1) * (0.35 + 0.65 * f.smile) * _smooth(0.9, 0.65, np.abs(m.q))
    _paint(planes, [c * shade * seams for c in (0.80, 0.75, 0.66)], teeth)


def _eye(planes, f, g, s, side, lamp, skin, level):
    """Draw one eye: ball, iris, catch light, lids and lashes. ``level`` is the amount of light on its side of the face."""
    q = (s.x - side * g.eye) * side  # positive outward on both sides
    y = s.y
    half = 10.2 * f.eye_size
    up = (4.8 * f.eye_open * f.eye_size) * (1 - 0.22 * f.smile)
    low = 2.7 * f.eye_size * (0.75 + 0.25 * f.eye_open) * (1 - 0.30 * f.smile)
    r = np.clip(q / half, -1.3, 1.3)
    skew = np.clip((q + 1.4) / half, -1.2, 1.2)  # the upper lid peaks a little towards the nose
    tilt = -f.eye_tilt * 1.6 * r
    lid_up = tilt - up * (1 - np.abs(skew) ** 2.3) - 0.25
    lid_low = tilt + low * (1 - np.abs(r) ** 2.0 + 0.18 * r * (1 - r * r))
    opening = np.clip(np.minimum(y - lid_up, lid_low - y) * 1.1 / g.unit + 0.35, 0, 1) * _smooth(1.08, 0.98, np.abs(r))
    # Skin around: crease of the upper lid, light on the lid, shadow beneath the lower one.
    crease = lid_up - 2.9 - 0.9 * f.eye_open + 0.5 * r
    near = _smooth(1.35, 0.75, np.abs(r))
    fold = np.maximum(1 - ((y - crease) / 1.25) ** 2, 0) * near
    lid = np.clip((y - crease) * 0.6, 0, 1) * np.clip((lid_up - y) * 0.6 + 0.5, 0, 1) * near
    shadow_colour = (0.50, 0.58, 0.55) if f.makeup > 0 else (0.3, 0.3, 0.3)
    for plane, k in zip(planes, shadow_colour, strict=True):
        plane *= (1 - (0.36 + 0.2 * f.makeup) * fold) * (1 - k * 1.1 * f.makeup * lid) * (1 + 0.10 * (1 - f.makeup) * lid)
    pouch = np.maximum(1 - ((y - lid_low - 2.0 - 0.8 * f.eye_open) / 1.3) ** 2, 0) * near
    for plane in planes:
        plane *= 1 - (0.10 + 0.16 * f.eye_bags + 0.08 * f.smile) * pouch
    # Ball.
    gx, gy = 1.9 * f.gaze_x * side, 1.0 * f.gaze_y - 0.55
    radius = 4.3 * f.eye_size**0.5
    dx, dy = q - gx, y - gy
    d = np.sqrt(dx * dx + dy * dy)
    roundness = (0.94 - 0.42 * np.abs(r) ** 2.2) * (0.52 + 0.48 * _smooth(0.0, 3.6, y - lid_up))
    ball = [c * level * roundness for c in (0.64, 0.58, 0.55)]
    iris = _linear(EYE_COLOURS[f.eye_colour])
    angle_light = 0.72 + 0.55 * np.clip((dy - dx * lamp.key[0] * side * -0.6) / radius, -0.6, 1)
    rings = _smooth(radius + 0.45, radius - 0.45, d)
    limbus = 1 - 0.62 * _smooth(radius - 1.5, radius, d)
    pupil = _smooth(1.55 + 0.4, 1.55 - 0.4, d)
    for c in range(3):
        inner = iris[c] * 0.85 * level * angle_light * limbus * (0.45 + 0.55 * _smooth(-0.4, 2.8, y - lid_up)) * (1 - 0.97 * pupil)
        ball[c] = ball[c] + rings * (inner - ball[c])
    caruncle = _smooth(-half * 0.72, -half * 1.0, q)
    for c, tint in enumerate((0.50, 0.24, 0.20)):
        ball[c] = ball[c] + caruncle * 0.75 * (tint * skin[0] * level - ball[c])
    _paint(planes, ball, opening)
    spark_x, spark_y = gx + 1.5 * lamp.key[0] * side, gy - 1.35
    spark = np.clip(1.35 - np.sqrt((q - spark_x) ** 2 + (y - spark_y) ** 2) * 1.0, 0, 1) * opening
    _paint(planes, (0.95, 0.95, 0.95), 0.88 * spark)
    wet = _bump(q - gx + 0.8, y - lid_low + 0.5, 5, 0.9) * opening
    _paint(planes, (0.8, 0.8, 0.8), 0.14 * wet)
    # Lashes: a tapering line on the upper lid that extends outward beyond it, and a faint line on the lower lid.
    weight = 0.85 + 0.55 * f.makeup + 0.25 * (1 - f.masculine)
    taper = _smooth(-1.08, -0.5, r) * _smooth(1.22, 0.95, r)
    upper = np.clip((weight * (0.75 + 0.45 * _smooth(-0.6, 0.8, r)) + 0.45 - np.abs(y - lid_up + 0.35)) / 1.1, 0, 1) * taper
    lower = np.clip(1 - np.abs(y - lid_low) / 1.1, 0, 1) * _smooth(-0.9, 0.4, r) * _smooth(1.1, 0.9, r)
    tint = _mix(skin * 0.05, np.array([0.006, 0.004, 0.004]), 0.6)
    _paint(planes, tint.astype(np.float32), 0.92 * upper)
    _paint(planes, tint.astype(np.float32), (0.26 + 0.35 * f.makeup) * lower)


def _ears(planes, f, g, lamp, skin):
    for side in (-1, 1):
        if side * g.sin > 0.20:
            continue  # hidden behind the turned head
        centre = side * (g.width + 1.5) * g.cos - 2 * g.sin
        rows, columns = _window(g, centre - 14, centre + 14, -16, 30)
        vx, vy = g.x[:, columns], g.y[rows] + g.nod * 34
        x, y = (vx - centre) * side + 0.10 * (vy - 6), vy - 6
        wide = 6.2 - 1.5 * _smooth(2, 14, y)
        r = np.sqrt((x / wide) ** 2 + (y / 14.5) ** 2)
        cover = _cover((1 - r) * 6 / g.unit)
        bowl = _bump(x + 1, y + 1, 4.2, 8.5)
        rim = np.maximum(1 - ((r - 0.78) / 0.2) ** 2, 0)
        light = 0.50 + 0.42 * max(lamp.key[0] * side, -0.4) + 0.22 * rim - 0.34 * bowl
        light = np.maximum(light * lamp.colour.mean() * 0.9 + lamp.ambient.mean() * 0.55, 0.05)
        _paint(planes[:, rows, columns], [c * light for c in skin * np.array([1.02, 0.84, 0.80])], cover)


def _earrings(planes, f, g, lamp):
    for side in (-1, 1):
        if side * g.sin > 0.20:
            continue
        x = side * (g.width + 1.0) * g.cos - 2 * g.sin
        rows, columns = _window(g, x - 6, x + 6, 12, 34)
        dx, dy = g.x[:, columns] - x, g.y[rows] + g.nod * 34 - 21.5
        distance = np.sqrt(dx**2 + dy**2)
        shine = 0.55 + 0.6 * _bump(dx - lamp.key[0], dy + 1, 2.2, 2.2) - 0.2 * dy / 3
        _paint(planes[:, rows, columns], (0.95 * shine, 0.82 * shine, 0.52 * shine), _cover((2.6 - distance) / g.unit))


def _face(planes, f, g, lamp, skin, hair, cast):
    """Draw the head with everything on its skin."""
    reach = g.width + 6
    top = -72 if f.hair_style in ("bald", "buzz", "receding") else -60  # hair hides the crown
    s = _surface(g, *_window(g, -reach, reach, top, g.chin + 9))
    m = _mouth_shape(f, s)
    depth = s.depth + _relief(f, g, s, m)
    albedo = _skin_albedo(f, g, s, m, skin)
    _grow_beard(albedo, depth, f, g, s, m, hair, skin)
    _brows(albedo, f, g, s, hair, skin)
    normal = _normals(depth, g.unit)
    occlusion, shadow = _shadows(f, g, s, lamp, m)
    shadow = np.maximum(shadow, cast[s.rows, s.columns])
    gloss = 0.75 + 0.5 * _bump(s.x, s.y + 5, 22, 50) - 0.6 * _bump(s.x, s.y - 50, 40, 25) * (f.beard == "full")
    lit = _light_skin(albedo, normal, occlusion, shadow, lamp, gloss)
    _nostrils(lit, f, g, s)
    mouth_rows = slice(*np.searchsorted(s.vy[:, 0], [m.centre - 16, m.centre + 16]))
    of_mouth = _rows_of((s, m), mouth_rows, s.x.shape)
    _inner_mouth(lit[:, mouth_rows], f, of_mouth[0], of_mouth[1], lamp)
    for side in (-1, 1):
        centre = _project(g, side * g.eye, 0)[0]
        rows = slice(*np.searchsorted(s.vy[:, 0], [-13, 13]))
        columns = slice(*np.searchsorted(s.vx[0], [centre - 16, centre + 16]))
        facing = float(np.clip(side * 0.35 * lamp.key[0] + 0.80 * lamp.key[2] - 0.15 * lamp.key[1], 0.1, 1))
        level = float(lamp.colour.mean() * facing * 0.80 + lamp.ambient.mean() * 0.8)
        part = SimpleNamespace(x=s.x[rows, columns], y=s.y[rows, columns])
        _eye(
            lit[:, rows, columns], f, g, part, side, lamp, skin, level * (1 - 0.6 * float(cast[int(EYE_ROW), int(EYE_COLUMN + side * 19)]))
        )
    lit *= 0.50 + 0.50 * _smooth(-0.6, 2.4, s.distance)  # beyond the outline the slope is undefined and would cause highlights
    _paint(planes[:, s.rows, s.columns], lit, s.cover)


def _rows_of(groups, rows, shape):
    """Return the same named planes, cropped to some of their rows."""
    cut = []
    for group in groups:
        items = {k: v[rows] if isinstance(v, np.ndarray) and v.shape == shape else v for k, v in vars(group).items()}
        cut.append(SimpleNamespace(**items))
    return cut


# ----------------------------------------------------------------------------------------------------------------------- hair
# For each style: extra height at the top, extra width at the sides, height of the ends, flare, wave, curl, direction of the strands, and
# the hairline as knots (distance from the middle, height). Distances are angles around the head times 40, so a frontal head ends at 63.
_SHORT = ((0, -43), (18, -42), (30, -37), (39, -25), (44, -10), (49, 9), (52, 13), (120, 14))
_HANGING = ((0, -45), (14, -42), (27, -33), (36, -14), (42, 12), (44, 60), (45, 200), (120, 200))
STYLES = {
    "receding": (3, 2, 16, 0, 0.2, 0.1, "back", ((0, -50), (12, -50), (24, -57), (34, -47), (42, -24), (46, -8), (51, 10), (120, 14))),
    "buzz": (1.5, 0.5, 12, 0, 0, 0.3, "back", ((0, -46), (20, -46), (31, -43), (38, -28), (45, -10), (50, 4), (54, 9), (120, 10))),
    "short": (8, 3, 16, 0, 0.3, 0.15, "fan", _SHORT),
    "side part": (11, 4, 17, 0, 0.4, 0.0, "sweep", ((0, -42), (18, -41), (30, -35), (39, -24), (44, -10), (49, 10), (52, 14), (120, 15))),
    "quiff": (16, 2, 14, 0, 0.5, 0.0, "back", ((0, -46), (16, -45), (29, -41), (39, -26), (45, -10), (49, 8), (52, 12), (120, 13))),
    "fringe": (9, 7, 26, 1, 0.2, 0.0, "fan", ((0, -19), (18, -18), (30, -16), (39, -9), (45, 12), (49, 22), (54, 26), (120, 28))),
    "bob": (10, 9, 50, 7, 0.4, 0.0, "fall", ((0, -42), (16, -38), (28, -27), (36, -8), (40, 18), (41, 40), (42, 200), (120, 200))),
    "bob fringe": (9, 10, 48, 6, 0.2, 0.0, "fall", ((0, -18), (18, -17), (30, -14), (37, -4), (40, 18), (41, 40), (42, 200), (120, 200))),
    "long straight": (8, 7, 96, 8, 0.3, 0.0, "fall", _HANGING),
    "long wavy": (11, 12, 92, 13, 3.2, 0.0, "fall", _HANGING),
    "curly": (14, 15, 62, 9, 3.0, 0.45, "curl", ((0, -39), (16, -37), (28, -30), (37, -14), (42, 10), (44, 60), (45, 200), (120, 200))),
    "afro": (25, 25, 16, 0, 0, 1.0, "curl", ((0, -43), (18, -42), (30, -37), (38, -24), (43, -8), (48, 10), (52, 18), (120, 20))),
    "bun": (4, 1.5, 15, 0, 0.2, 0.0, "back", ((0, -46), (16, -45), (29, -39), (39, -25), (45, -10), (50, 6), (53, 12), (120, 13))),
}
LONG_STYLES = ("bob", "bob fringe", "long straight", "long wavy", "curly")


def _hair_outline(f, g, style):
    """Return the half width of the hair at the tabulated heights, and the heights of its ends and its top."""
    rise, side, end, flare = style[:4]
    volume = 0.65 + 0.7 * f.hair_volume
    if f.hat != "none":
        rise, side = min(rise, 3), min(side * volume, 9)
    top, middle = -64 - rise * volume, -16.0
    width = g.width + side * volume
    up = np.clip((g.heights - middle) / (top - middle), 0, 1)
    dome = (1 - up ** (2.0 if style[6] == "curl" else 2.25)) ** (1 / 2.05)
    if f.hair_style in LONG_STYLES:
        end = end * (0.80 + 0.4 * f.hair_length)
        down = 1 + flare * volume / width * _smooth(-10, 58, g.heights) - 0.10 * _smooth(end - 22, end + 12, g.heights)
    elif f.hair_style == "afro":
        down = np.sqrt(np.maximum(1 - (np.maximum(g.heights - middle, 0) / 62) ** 2, 0.02))
        end = 30
    else:
        down = 1 - (1 - (g.width - 1.5) / width) * _smooth(-14, 14, g.heights)
    return (width * np.where(g.heights < middle, dome, down)).astype(np.float32), end, top


def _hairline(f, knots, jitter):
    """Return the height of the hairline by the angle around the head, as a table from -128 to 128 in steps of a quarter."""
    u = np.arange(-128, 128, 0.25)
    bend = np.maximum(1 - (u / 50) ** 2, 0)
    away, height = zip(*knots, strict=True)
    table = np.interp(np.abs(u - 17 * f.hair_part * bend), away, height)
    kernel = np.hanning(25) / np.hanning(25).sum()
    smooth = np.convolve(np.pad(table, 12, mode="edge"), kernel, mode="valid")
    column = _tiles().strands[(np.arange(u.size) + 37 * f.texture) & 1023, f.texture & 255]
    return (smooth + jitter * column).astype(np.float32)


def _hair_planes(f, g):
    """Return coverage of front and back hair, texture of the strands and direction of the surface; None for a bald head."""
    if f.hair_style == "bald":
        return None
    style = STYLES[f.hair_style]
    _, _, _, _, wave, curl, flow, knots = style
    tiles = _tiles()
    outline, end, top = _hair_outline(f, g, style)
    reach = float(outline.max()) * 1.06 + 9
    lift = g.nod * g.eye_depth  # the silhouette lies in the plane of the axis, which the nod does not move
    rows, columns = _window(g, -reach - 6 * g.sin, reach - 6 * g.sin, top - 5 - lift, end + 16 - lift)
    h = SimpleNamespace(top=top, end=end, rows=rows, columns=columns)
    view_x, view_y = g.x[:, columns], g.y[rows]
    x = view_x + 6 * g.sin
    height = view_y + lift
    wide = _look_up(outline, height)
    span2 = (wide * g.cos) ** 2 + ((wide * 1.05 + 2) * g.sin) ** 2 + 1e-2
    span = np.sqrt(span2)
    inside = span2 - x * x
    _, dy = _slopes(inside)
    distance = inside / np.sqrt(4 * (x * g.unit) ** 2 + dy * dy + 4.0)
    ragged = tiles.curls if curl > 0.3 else tiles.medium
    distance = np.where(height < top, -9.0, distance) + (0.5 + 1.3 * (curl > 0.3)) * _noise(
        ragged, height * 1.6 + f.texture, x * 1.6 + 0.5 * f.texture
    )
    t = np.clip(x / span, -1, 1)
    # The hairline is on the head, so it turns with the head.
    low = np.clip(view_y, -46.0, 4.0)  # limited, because the angle would jump where crown or jaw close the outline
    across, along = _look_up(g.wide, low) * g.cos, _look_up(g.deep, np.minimum(low, 0.0)) * g.sin
    head = np.sqrt(across**2 + along**2 + 1e-2)
    th = np.clip(view_x / head, -1, 1)
    angle = np.arcsin(th) - np.arctan2(along, across)
    u = 40 * angle + (view_x - th * head)
    facing = np.sqrt(1 - th * th)
    front = view_y - g.nod * (facing * 44 - g.eye_depth)
    jitter = {"fall": 0.9, "fan": 1.1, "curl": 2.2}.get(flow, 1.0)
    line = _hairline(f, knots, jitter)[np.clip((u + 128) * 4, 0, 1023).astype(np.int32)]
    gap = line - front
    dx, dy = _slopes(gap)
    h.gap = gap / np.sqrt(dx * dx + dy * dy + 0.3) + 0.10 * np.maximum(gap - 3, 0)  # far inside, the slope is not needed
    if curl > 0.3:
        h.gap = h.gap + 1.4 * _noise(tiles.curls, height * 1.2 + 9, x * 1.2)
    # Strands are lines of constant s.
    s, w = _strand_lines(f, flow, x, height, span, u, top)
    wobble = _noise(tiles.broad, height * 0.8 + f.texture, x * 0.8)
    swing = (0.35 + wave) * (0.8 + 0.5 * f.hair_volume) * _smooth(top, top + 45, height)
    s = s + swing * np.sin(height * (2 * np.pi / 27) + 1.5 * wobble + 0.03 * x + f.texture) + 0.9 * wobble
    strand = _noise(tiles.strands, s * 11 + 17 * f.texture, w * 1.0 + f.texture)
    if curl > 0:
        curls = _noise(tiles.curls, height * 1.9 + 0.6 * strand + f.texture, x * 1.9 + 1.2 * wobble)
        strand = _mix(strand, 0.75 * curls + 0.75 * _noise(tiles.medium, height * 2.1, x * 2.1 + 40), min(curl, 0.9))
    h.strand = strand
    tip = height - end - 3.5 * strand - 6 * (1 - t * t) * (end > 40)
    tail = _smooth(5, -5, tip) if end > 40 else _smooth(3, -7, tip)
    edge = np.clip((distance + 0.6 * strand) * 0.42 + 0.5, 0, 1)
    h.cover = edge * tail
    thin = {"buzz": 0.80, "receding": 0.90}.get(f.hair_style, 1.0)
    h.front = h.cover * np.clip((h.gap + 0.45 * strand) * (0.5 if flow != "back" else 0.28) + 0.5, 0, 1) * thin
    h.nx = t * 0.92
    h.ny = np.clip((height + 16) / (16 + np.abs(top)), -0.95, 0.0) * 0.95
    h.depth_in = _smooth(0, 9, distance) if end > 40 else 1.0
    return h


def _strand_lines(f, flow, x, height, span, u, top):
    """Return the coordinate across the strands (constant along each of them) and the coordinate along them."""
    level = np.clip((height - top) / 60, 0, 1)
    part = 15 * f.hair_part * (1 - level)
    if flow in ("fall", "curl"):
        return 56 * (x - part) / np.maximum(span, 8.0), height + 0 * x
    if flow == "sweep":
        lean = np.sign(f.hair_part + 1e-6)
        return (height + 66) * 1.0 + 0.012 * (x + lean * 34) ** 2 - 0.30 * lean * x, x + 0 * height
    if flow == "fan":
        return (x - part) / (0.45 + 0.75 * level), height + 0 * x
    return 50 * x / np.maximum(30 - height, 12) * 1.25, height + 0 * x  # combed back from the forehead


def _light_hair(h, colour, lamp):
    """Return the linear light that leaves hair: soft Lambert, darker valleys between strands, and a ring of highlights."""
    nx, ny = h.nx, h.ny
    nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.04))
    facing = nx * lamp.key[0] + ny * lamp.key[1] + nz * lamp.key[2]
    diffuse = np.maximum((facing + 0.3) / 1.3, 0)
    valleys = np.clip(1 + (0.29 - 0.22 * min(float(colour.mean()), 0.6)) * h.strand, 0.30, 1.8)  # in light hair the shadows are weaker
    level = (0.85 * diffuse * valleys)[None] * lamp.colour[:, None, None] + (0.85 * valleys)[None] * lamp.ambient[:, None, None]
    ring = np.maximum(1 - ((ny + 0.50 + 0.07 * h.strand) / 0.30) ** 2, 0)
    sheen = ring * ring * np.maximum(facing, 0) ** 2 * np.clip(0.55 + 0.55 * h.strand, 0, 2)
    gloss = (0.28 * colour + 0.06)[:, None, None] * lamp.colour[:, None, None]
    return colour[:, None, None] * level + gloss * sheen


def _bun(planes, f, g, colour, lamp):
    cx, cy, r = -14 * g.sin, -73 - g.nod * g.eye_depth, 13 + 5 * f.hair_volume
    rows, columns = _window(g, cx - r - 3, cx + r + 3, cy - r - 3, cy + r + 3)
    x, y = g.x[:, columns] - cx, g.y[rows] - cy
    d = np.sqrt(x * x + (y * 1.15) ** 2)
    cover = np.clip((r - d) * 0.6 + 0.5, 0, 1)
    strand = _noise(_tiles().strands, (y + 0.035 * (x + 6) ** 2 + 0.3 * x) * 9 + f.texture * 9, (x + 0 * y) * 1.5 + 90)
    part = SimpleNamespace(nx=np.clip(x / r, -0.9, 0.9), ny=np.clip(y / r, -0.9, 0.9), strand=strand)
    norm = np.maximum(np.sqrt(part.nx**2 + part.ny**2), 0.95) / 0.95
    part.nx, part.ny = part.nx / norm, part.ny / norm
    _paint(planes[:, rows, columns], _light_hair(part, colour, lamp) * (1 - 0.4 * _smooth(-4, r, y)), cover)


# ------------------------------------------------------------------------------------------------------------ glasses and hats
def _glasses(planes, f, g, lamp):
    if f.glasses == "none":
        return
    lift = 7.0
    width, height = {"round": (13.2, 12.2), "square": (14.6, 10.2), "oval": (14.4, 9.4)}[f.glasses_shape]
    power = {"round": 2.0, "square": 4.2, "oval": 2.5}[f.glasses_shape]
    rim = {"thin": 0.62, "thick": 1.55, "sunglasses": 1.0}[f.glasses]
    if f.glasses == "sunglasses":
        width, height = width + 1.5, height + 1.5
    metal = f.glasses == "thin" and f.texture % 2 == 0
    tint = np.array([0.40, 0.34, 0.24]) if metal else _hue(0.04 + 0.1 * f.lip_hue, 0.5, 0.08 + 0.25 * (f.texture % 3 == 0))
    rows, columns = _window(g, -62, 62, -22, 26)
    view = planes[:, rows, columns]
    vx, vy = g.x[:, columns], g.y[rows]
    frame, lens, shadow, glare = 0.0, 0.0, 0.0, 0.0
    edges = []
    for side in (-1, 1):
        cx, cy = _project(g, side * (g.eye + 0.8), 2.0, lift)
        squeeze = g.cos * (1 - side * g.sin * 0.42)  # the lenses wrap around the face a little
        x, y = (vx - cx) / squeeze, vy - cy
        r = (np.abs(x / width) ** power + np.abs(y / height) ** power + 1e-6) ** (1 / power)
        d = (1 - r) * min(width * squeeze, height)
        lens = np.maximum(lens, _cover((d - 0.2) / g.unit))
        frame = np.maximum(frame, np.clip((rim - np.abs(d)) / g.unit + 0.5, 0, 1))
        shadow = np.maximum(shadow, _smooth(4.0, 0.5, np.abs(d + 0.4 - 1.8 * np.clip(y / height, -1, 1))))
        glare = np.maximum(glare, _cover(d - 1.2) * _smooth(5.5, 1.5, np.abs(x + 0.8 * y - 5 + 2 * (f.texture % 5))))
        edges.append((cx, cy, width * squeeze))
    left, right = edges
    bridge_y = 0.5 * (left[1] + right[1]) - 3.5 + 0.02 * (vx - 0.5 * (left[0] + right[0])) ** 2
    between = _smooth(left[0] + left[2] - 1, left[0] + left[2] + 1, vx) * _smooth(right[0] - right[2] + 1, right[0] - right[2] - 1, vx)
    frame = np.maximum(frame, np.clip((rim * 0.95 - np.abs(vy - bridge_y)) / g.unit + 0.5, 0, 1) * between)
    for side, (cx, cy, w) in zip((-1, 1), edges, strict=True):
        start, stop = cx + side * w, side * g.width * np.sqrt(g.cos**2 + (1.05 * g.sin) ** 2)
        if (stop - start) * side > 0:
            on = _smooth(start - side, start + side, vx) * _smooth(stop + side, stop - side, vx)
            frame = np.maximum(frame, np.clip((rim * 0.9 - np.abs(vy - cy + 3.2)) / g.unit + 0.5, 0, 1) * on)
    for plane, keep in zip(view, (0.22, 0.26, 0.27), strict=True):
        plane *= 1 - keep * shadow * (f.glasses != "sunglasses")
    if f.glasses == "sunglasses":
        fade = _smooth(-14, 18, vy)
        tone = _hue(0.05 + 0.5 * f.lip_hue, 0.4, 0.20)
        _paint(view, [c * (0.25 + 1.0 * fade) for c in tone], lens * (0.97 - 0.22 * fade))
    else:
        _paint(view, (0.85, 0.9, 0.95), 0.035 * lens)
    _paint(view, lamp.colour * 0.8, glare * (0.13 if f.glasses != "sunglasses" else 0.10))
    light = 0.6 + 0.7 * _noise(_tiles().broad, vy * 0.7 + 30, vx * 0.7 + f.texture) * 0.25 + (0.5 if metal else 0.15)
    _paint(view, [c * np.maximum(light, 0.2) * lamp.colour.mean() for c in tint], frame)


def _hat(planes, f, g, lamp):
    """Draw a cap, a beanie or a wide hat over the hair."""
    tiles = _tiles()
    planes = planes[:, : int(np.clip(EYE_ROW + 8 / g.unit, 1, HEIGHT))]  # a hat does not reach below the eyes
    rows = planes.shape[1]
    view_y = g.y[:rows]
    x = g.x + 2 * g.sin
    y = view_y + g.nod * g.eye_depth * 0.4
    rise = {"cap": 9, "beanie": 12, "wide": 15}[f.hat]
    width = g.width + {"cap": 4.5, "beanie": 6.5, "wide": 4.0}[f.hat]
    width = width * np.sqrt(g.cos**2 + (1.08 * g.sin) ** 2)
    top, middle = -64.0 - rise, -26.0
    up = np.clip((y - middle) / (top - middle), 0, 1)
    power = 3.2 if f.hat == "wide" else 2.2
    span2 = (width * (1 - up**power) ** (1 / power)) ** 2 + 1e-2
    inside = span2 - x * x
    distance = inside / np.sqrt(4 * (x * g.unit) ** 2 + _slopes(inside)[1] ** 2 + 4.0)
    shift = g.x - 42 * g.sin  # the front of the hat turns with the face
    level = {"cap": -33.0, "beanie": -28.0, "wide": -33.0}[f.hat]
    edge = level - 0.0035 * shift**2 * (1 if f.hat != "beanie" else -0.8) + (g.nod * 20)
    body = _cover(np.where(y < top, -9.0, distance)) * _cover(edge - view_y)
    t = np.clip(x / np.sqrt(span2), -1, 1)
    ny = -np.clip(up, 0, 0.9)
    nz = np.sqrt(np.maximum(1 - (0.9 * t) ** 2 - ny**2, 0.04))
    facing = 0.9 * t * lamp.key[0] + ny * lamp.key[1] + nz * lamp.key[2]
    colour = _hue(f.hat_hue, 0.10 + 0.5 * f.clothing_colour, 0.14 + 0.6 * f.hat_value)
    light = np.maximum(facing + 0.25, 0) * 0.8 * lamp.colour.mean() + 0.85 * lamp.ambient.mean()
    pattern = 1 + 0.05 * _noise(tiles.fine, view_y * 2, g.x * 2) + 0.06 * _noise(tiles.broad, y * 1.5, x * 1.5 + f.texture)
    if f.hat == "beanie":
        rib = np.sin(50 * np.arcsin(t) * 0.9)
        fold = edge - view_y < 15
        pattern = pattern * (1 + 0.13 * rib) * np.where(fold, 1.06, 1 - 0.4 * _smooth(20, 15, edge - view_y))
    elif f.hat == "cap":
        seam = (
            np.maximum(1 - np.abs(shift * (0.4 + 0.6 * (1 - up)) + 0.3) / 0.9, 0) + np.maximum(1 - np.abs(np.abs(t) - 0.72) * 40, 0) * 0.7
        )
        pattern = pattern * (1 - 0.22 * seam)
    else:
        band = _smooth(10, 9, edge - view_y)
        pattern = pattern * (1 - 0.55 * band)
    _paint(planes, [c * light * pattern for c in colour], body)
    if f.hat in ("cap", "wide"):
        reach, drop = (40.0, 12.5) if f.hat == "cap" else (88.0, 12.0)
        bx, by = (
            (shift - 7 * g.sin) / reach,
            (view_y - level - 1.0 - g.nod * 20 + (2 if f.hat == "cap" else 3) * (shift / reach) ** 2) / drop,
        )
        shape = 1 - bx * bx - by * by if f.hat == "wide" else np.minimum(1 - bx * bx - by * by, by + 0.55)
        dx, dy = _slopes(shape)
        brim = _cover(shape / np.sqrt(dx * dx + dy * dy + 1e-5))
        if f.hat == "wide":
            brim = brim * (1 - body * (view_y < edge - 1))
        tone = light.mean() * (0.78 - 0.35 * np.clip(by, -0.6, 1)) * (1 + 0.25 * bx * lamp.key[0])
        _paint(planes, [c * tone * (1 + 0.02 * _noise(tiles.fine, view_y * 2, g.x * 2)) for c in colour], brim)


def _hat_shadow(f, g, cast):
    level = {"cap": -24.0, "beanie": -28.0, "wide": -21.0}[f.hat]
    depth = {"cap": 15, "beanie": 5, "wide": 20}[f.hat]
    np.maximum(cast, 0.62 * _smooth(level + depth, level, g.y + 0.004 * (g.x - 42 * g.sin) ** 2), out=cast)


# ------------------------------------------------------------------------------------------------------------------ the picture
def _skin_colour(f):
    place = f.skin_tone * (len(SKIN_TONES) - 1)
    tones = np.array(SKIN_TONES, np.float32)
    rgb = np.array([np.interp(place, np.arange(len(tones)), tones[:, c]) for c in range(3)])
    rgb = rgb * (1 + f.undertone * np.array([0.012, -0.012, 0.035]))
    return _linear(np.clip(rgb, 0, 252)) * 0.92


def _hair_tint(f):
    rgb = np.array(HAIR_COLOURS[f.hair_colour], np.float32) * (1 + 0.28 * f.hair_shade)
    return (_linear(np.clip(rgb, 8, 235)) * 1.25).astype(np.float32)


def _develop(planes, rng):
    """Apply the camera: lens blur, vignette, exposure curve and grain; return eight bits per channel."""
    soft = planes.copy()
    soft[:, 1:-1] = 0.72 * planes[:, 1:-1] + 0.14 * (planes[:, 2:] + planes[:, :-2])
    soft[:, :, 1:-1] = 0.72 * soft[:, :, 1:-1] + 0.14 * (soft[:, :, 2:] + soft[:, :, :-2])
    px = ((np.arange(WIDTH, dtype=np.float32) - 88.5) / 150)[None, :]
    py = ((np.arange(HEIGHT, dtype=np.float32) - 105) / 170)[:, None]
    soft *= 1.12 - 0.30 * (px * px + py * py)
    np.maximum(soft, 0, out=soft)
    soft = 1.06 * soft * (1 + 0.10 * soft) / (1 + 0.36 * soft)
    stored = np.sqrt(soft)
    a, b = rng.integers(0, 512 - HEIGHT), rng.integers(0, 512 - WIDTH)
    stored += 0.0035 * _tiles().grain[a : a + HEIGHT, b : b + WIDTH]
    stored *= 255
    stored += 0.5
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for channel in range(3):
        picture[..., channel] = np.minimum(np.maximum(stored[channel], 0), 255)
    return picture


def draw_portrait(f, noise_seed=0):
    """Draw one face; see `glo_lib.faces.draw_face`."""
    rng = np.random.default_rng([f.texture, noise_seed])
    g, lamp = _geometry(f), _lamp(f)
    skin, tint = _skin_colour(f).astype(np.float32), _hair_tint(f)
    planes = _background(f, g, rng)
    hair = _hair_planes(f, g)
    cast = np.zeros((HEIGHT, WIDTH), np.float32)
    if hair is not None:
        if f.hair_style == "bun" and f.hat == "none":
            _bun(planes, f, g, tint, lamp)
        hair_y, behind = g.y[hair.rows], planes[:, hair.rows, hair.columns]
        back = 0.30 + 0.2 * _smooth(40, 90, hair_y)
        shine = _light_hair(hair, tint, lamp)
        _paint(behind, shine * back, hair.cover)
        cast[hair.rows, hair.columns] = 0.60 * _smooth(-8.5, 1.0, hair.gap) * _smooth(0.0, 0.25, hair.cover)
    if f.hat != "none":
        _hat_shadow(f, g, cast)
    _body(planes, f, g, lamp, skin, rng)
    covered = f.hair_style in LONG_STYLES
    if not covered:
        _ears(planes, f, g, lamp, skin)
        if f.earrings:
            _earrings(planes, f, g, lamp)
    _face(planes, f, g, lamp, skin, tint, cast)
    _glasses(planes, f, g, lamp)
    if hair is not None:
        fall = 1 - 0.35 * _smooth(10, 80, hair_y)
        shine *= fall * (0.55 + 0.45 * _smooth(0, 9, hair.gap)) if covered else fall
        _paint(behind, shine, hair.front)
    if f.hat != "none":
        _hat(planes, f, g, lamp)
    return _develop(planes, rng)
