"""Measure the time and memory of a search for nearest neighbours among as many images as CelebA has.

    python -m benchmarks.neighbours

writes a file of 202,599 random images of 64x64 pixels (2.5 GB, in the folder for temporary files), searches it for the neighbours of 25
queries, and removes it. "Own memory" excludes files that are mapped into memory, such as libraries.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glo_lib.images.store import StoredImages
from glo_lib.inference.neighbours import nearest_neighbours

NUM_IMAGES, IMAGE_SIZE = 202_599, 64
QUERIES = 25


def measure(num_images: int) -> None:
    """Search among that many images, check the result, and print the measurements."""
    shape = (num_images, IMAGE_SIZE, IMAGE_SIZE, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.uint8"
        _write_random_images(path, shape)
        images = StoredImages(path, shape)
        rows = np.linspace(0, num_images - 1, QUERIES).astype(int)
        queries = images[rows] / np.float32(127.5) - 1 + np.float32(0.05)
        with _ResourceMonitor() as monitor:
            index, _ = nearest_neighbours(queries, images, 3)
        assert (index[:, 0] == rows).all()
        print(f"{monitor.seconds:.1f} s ({monitor.cpu_seconds:.1f} s of both cores added)")
        print(f"peak own memory {monitor.peak['RssAnon']:,} MB, with mapped files {monitor.peak['VmRSS']:,} MB")


def _write_random_images(path: Path, shape: tuple[int, ...]) -> None:
    numbers = np.random.default_rng(0)
    with open(path, "wb") as file:
        for start in range(0, shape[0], 4096):
            numbers.integers(0, 256, (min(4096, shape[0] - start), *shape[1:]), dtype=np.uint8).tofile(file)


class _ResourceMonitor:
    """Measure seconds, CPU seconds and peak memory in MB. The memory is read from /proc a hundred times a second."""

    def __enter__(self):
        self.peak = {"RssAnon": 0, "VmRSS": 0}
        self._stop, self._began, self._cpu_began = threading.Event(), time.perf_counter(), time.process_time()
        self._thread = threading.Thread(target=self._sample_memory, daemon=True)
        self._thread.start()
        return self

    def _sample_memory(self) -> None:
        while not self._stop.wait(0.01):
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in self.peak:
                    self.peak[name] = max(self.peak[name], int(value.split()[0]) // 1024)

    def __exit__(self, *_):
        self.seconds, self.cpu_seconds = time.perf_counter() - self._began, time.process_time() - self._cpu_began
        self._stop.set()
        self._thread.join()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and measure."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.neighbours", description=__doc__, formatter_class=layout)
    parser.add_argument("--images", type=int, default=NUM_IMAGES, help="number of images to search among (default: %(default)s)")
    measure(parser.parse_args(arguments).images)


if __name__ == "__main__":
    main()
