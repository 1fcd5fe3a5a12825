"""GLO in PyTorch, as a baseline for our training step: as a reader would write it first, and as fast as it could be made.

    python -m benchmarks.throughput          images per second
    python -m benchmarks.until ...           seconds until a PSNR is reached

The model is that of the public PyTorch implementations: transposed convolutions, batch normalization, images in memory. `PlainTraining` is
their loop. `FastTraining` does the same work with less: batches are rows of one tensor instead of being collected by a ``DataLoader``, one
pyramid of the difference replaces those of both images, and the optimizers are fused. The `VARIANTS` add what the documentation offers for
CPUs: channels last in memory, autocast to bfloat16, and the loss with the decoder compiled. It needs PyTorch, which the extra ``bench``
installs.
"""

import json
import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.turns import answer

NUM_FILTERS = (512, 256, 128, 64)
KERNEL_SIZE, NUM_DIMS, BATCH_SIZE, LEVELS = 4, 100, 128, 3
DECODER_RATE, CODE_RATE = 1.0, 10.0  # of SGD in the public implementations
VARIANTS = {"plain": "", "channels_last": "c", "bfloat16": "cb", "compiled": "cbk"}  # c: channels last, b: bfloat16, k: compiled
# Of batch normalization in `RecipeTraining`. The momentum is PyTorch's default, a decay of 0.9. Ours begins low and rises to 0.99; with
# 0.99 from the beginning, images in inference mode would lag behind for hundreds of steps.
NORM_MOMENTUM, NORM_EPSILON = 0.1, 1e-3

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # images, reconstructions -> scalar


class IndexedImages(Dataset):
    """Images (N, 3, size, size) float32 in [-1, 1], each with its index, from (N, size, size, 3) uint8."""

    def __init__(self, images: np.ndarray):
        self.images = as_floats(torch.from_numpy(images)).contiguous()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        return index, self.images[index]


class Decoder(nn.Module):
    """Decoder from codes (batch, d) to images (batch, 3, size, size)."""

    def __init__(self, widths: Sequence[int] = NUM_FILTERS, kernel_size: int = KERNEL_SIZE, num_dims: int = NUM_DIMS, **norm: float):
        super().__init__()
        double = {"kernel_size": kernel_size, "stride": 2, "padding": 1, "output_padding": kernel_size % 2}  # of kernels 3 and 4
        layers = [nn.ConvTranspose2d(num_dims, widths[0], 4, 1, 0, bias=False), nn.BatchNorm2d(widths[0], **norm), nn.ReLU(True)]
        for width_in, width in pairwise(widths):
            layers += [nn.ConvTranspose2d(width_in, width, bias=False, **double), nn.BatchNorm2d(width, **norm), nn.ReLU(True)]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 3, **double), nn.Tanh())

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return self.layers(codes[:, :, None, None])


def as_floats(images: torch.Tensor) -> torch.Tensor:
    """Return images (n, size, size, 3) uint8 as (n, 3, size, size) float32 in [-1, 1], with the channels last in memory."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def batch_loss(decoder: Decoder, loss: Loss, variant: str) -> Loss:
    """Return the function from bytes (n, size, size, 3) and codes (n, d) to the loss of a batch, as one of the `VARIANTS`."""
    channels_last, bfloat16, compiled = (letter in VARIANTS[variant] for letter in "cbk")
    order = torch.channels_last if channels_last else torch.contiguous_format
    decoder.to(memory_format=order)

    def compute(images: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            reconstructions = decoder(codes)
        return loss(as_floats(images).contiguous(memory_format=order), reconstructions.float())

    return torch.compile(compute) if compiled else compute


class Lap1Loss(nn.Module):
    """Sum of the mean absolute differences of the levels of two Laplacian pyramids.

    Args:
        padding: at the edges. PyTorch 2.13 cannot compile the gradient of ``"replicate"``.
    """

    def __init__(self, padding: str = "replicate"):
        super().__init__()
        taps, self._padding = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16, padding
        self.register_buffer("kernel", torch.outer(taps, taps).expand(3, 1, 5, 5).contiguous())

    def blur(self, images: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(functional.pad(images, (2, 2, 2, 2), mode=self._padding), self.kernel, groups=3)

    def pyramid(self, images: torch.Tensor) -> list[torch.Tensor]:
        levels = []
        for _ in range(LEVELS - 1):
            blurred = self.blur(images)
            levels.append(images - blurred)
            images = functional.avg_pool2d(blurred, 2)
        return [*levels, images]

    def forward(self, images: torch.Tensor, reconstructions: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.pyramid(images), self.pyramid(reconstructions), strict=True)
        return sum(functional.l1_loss(image, reconstruction) for image, reconstruction in pairs)


class DifferenceLap1Loss(Lap1Loss):
    """The same from one pyramid, that of the difference, because the pyramid is linear."""

    def __init__(self):
        super().__init__("reflect")

    def forward(self, images: torch.Tensor, reconstructions: torch.Tensor) -> torch.Tensor:
        return sum(level.abs().mean() for level in self.pyramid(images - reconstructions))


class PlainTraining:
    """The training loop of the public implementations; `steps` takes a number of steps of it.

    Args:
        images: (N, size, size, 3) uint8.
        seed: of the weights, the codes and the order of the images.
    """

    def __init__(self, images: np.ndarray, seed: int = 0):
        torch.manual_seed(seed)
        self.loader = DataLoader(IndexedImages(images), batch_size=BATCH_SIZE, shuffle=True, drop_last=True)
        self.batches = iter(self.loader)
        self.decoder, self.loss = Decoder(), Lap1Loss()
        self.codes = nn.Parameter(functional.normalize(torch.randn(len(images), NUM_DIMS)))
        groups = [{"params": self.decoder.parameters(), "lr": DECODER_RATE}, {"params": [self.codes], "lr": CODE_RATE}]
        self.optimizer = torch.optim.SGD(groups)

    def step(self) -> float:
        try:
            index, images = next(self.batches)
        except StopIteration:
            self.batches = iter(self.loader)
            index, images = next(self.batches)
        self.optimizer.zero_grad()
        loss = self.loss(images, self.decoder(self.codes[index]))
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            rows = self.codes[index]
            self.codes[index] = rows / rows.norm(dim=1, keepdim=True)
        return loss.item()

    def steps(self, number: int) -> None:
        for _ in range(number):
            self.step()


class Batches:
    """Batches of rows in an order that is drawn anew when too few rows are left."""

    def __init__(self, num_rows: int, batch_size: int):
        self._num_rows, self._size, self._order = num_rows, batch_size, torch.zeros(0, dtype=torch.int64)

    def next_rows(self) -> torch.Tensor:
        """Return the numbers of the rows of the next batch."""
        if len(self._order) < self._size:
            self._order = torch.randperm(self._num_rows)
        rows, self._order = self._order[: self._size], self._order[self._size :]
        return rows


class FastTraining:
    """The loop of `PlainTraining` with less work beside the decoder.

    Args:
        images: (N, size, size, 3) uint8.
        variant: one of the `VARIANTS`.
        seed: of the weights, the codes and the order of the images.
    """

    def __init__(self, images: np.ndarray, variant: str, seed: int = 0):
        torch.manual_seed(seed)
        self.images, self.batches = torch.from_numpy(images), Batches(len(images), BATCH_SIZE)
        self.codes = functional.normalize(torch.randn(len(images), NUM_DIMS))
        decoder = Decoder()
        self.loss = batch_loss(decoder, DifferenceLap1Loss(), variant)
        self.optimizer = torch.optim.SGD(decoder.parameters(), DECODER_RATE, fused=True)

    def step(self) -> float:
        rows = self.batches.next_rows()
        codes = self.codes[rows].requires_grad_()
        self.optimizer.zero_grad()
        loss = self.loss(self.images[rows], codes)
        loss.backward()
        self.optimizer.step()
        self.codes[rows] = functional.normalize(codes.detach() - CODE_RATE * codes.grad)
        return loss.item()

    def steps(self, number: int) -> None:
        for _ in range(number):
            self.step()


class RowwiseAdam:
    """Adam for the rows of a table, each with a count of its own, as in `glo_lib.codes.adam`.

    ``torch.optim.SparseAdam`` counts the steps of the whole table. With some fifty visits of each row in thousands of steps its correction
    of the second moment is far from right, and the codes take steps that are several times too large.

    Args:
        table: (N, d).
    """

    def __init__(self, table: torch.Tensor):
        self.first, self.second, self.visits = torch.zeros_like(table), torch.zeros_like(table), torch.zeros(len(table), 1)

    def moved(self, values: torch.Tensor, rows: torch.Tensor, gradient: torch.Tensor, rate: float) -> torch.Tensor:
        """Return the values (n, d) of rows after a step, from their gradient (n, d)."""
        visits = self.visits[rows] + 1
        first = 0.9 * self.first[rows] + 0.1 * gradient
        second = 0.999 * self.second[rows] + 0.001 * gradient.square()
        self.first[rows], self.second[rows], self.visits[rows] = first, second, visits
        return values - rate * torch.sqrt(1 - 0.999**visits) / (1 - 0.9**visits) * first / (second.sqrt() + 1e-8)


class RecipeTraining:
    """Our recipe: codes from principal components, Adam, the codes by rows on the sphere.

    Args:
        folder: written by `benchmarks.until`: ``images.npy`` (N, size, size, 3) uint8, ``codes.npy`` (N, d), ``recipe.json``.
        variant: one of the `VARIANTS`.
        seed: of the weights and of the order of the images.
    """

    def __init__(self, folder: Path, variant: str = "plain", seed: int = 0):
        torch.manual_seed(seed)
        self.recipe = json.loads((folder / "recipe.json").read_text())
        self.images, self.codes = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("images", "codes"))
        self.radius, self.taken = math.sqrt(self.codes.shape[1]), 0
        self.batches = Batches(len(self.images), self.recipe["batch_size"])
        norm = {"momentum": NORM_MOMENTUM, "eps": NORM_EPSILON}
        self.network = Decoder(self.recipe["num_filters"], self.recipe["kernel_size"], self.codes.shape[1], **norm)
        for layer in self.network.layers:
            if isinstance(layer, nn.ConvTranspose2d):
                nn.init.xavier_uniform_(layer.weight)
        self.loss = batch_loss(self.network, functional.mse_loss, variant)
        self.optimizer = torch.optim.Adam(self.network.parameters(), self.recipe["learning_rate"], fused=True)
        self.code_optimizer = RowwiseAdam(self.codes)

    def step(self) -> None:
        scale = 0.5 * (1 + math.cos(math.pi * min(1.0, self.taken / self.recipe["num_steps"])))
        self.optimizer.param_groups[0]["lr"] = scale * self.recipe["learning_rate"]
        rows = self.batches.next_rows()
        codes = self.codes[rows].requires_grad_()
        self.optimizer.zero_grad()
        self.loss(self.images[rows], functional.normalize(codes)).backward()
        self.optimizer.step()
        moved = self.code_optimizer.moved(codes.detach(), rows, codes.grad, scale * self.recipe["code_learning_rate"])
        self.codes[rows] = functional.normalize(moved) * self.radius
        self.taken += 1

    def steps(self, number: int) -> None:
        for _ in range(number):
            self.step()

    def psnr(self) -> float:
        """Return the mean PSNR, in dB, of the images of the recipe in inference mode."""
        rows = torch.tensor(self.recipe["measured"])
        self.network.eval()
        with torch.no_grad():
            images = torch.cat([self.network(functional.normalize(self.codes[part])) for part in rows.split(128)])
        self.network.train()
        errors = (images - as_floats(self.images[rows])).square().mean(dim=(1, 2, 3))
        return float((10 * torch.log10(4 / errors)).mean())


def serve(num_images: str, variant: str = "") -> None:
    """Serve training steps on images of noise, of `FastTraining` if a variant is given."""
    images = np.random.default_rng(0).integers(0, 256, (int(num_images), 64, 64, 3), dtype=np.uint8)
    answer((FastTraining(images, variant) if variant else PlainTraining(images)).steps)


def serve_recipe(folder: str, variant: str) -> None:
    """Serve steps of our recipe, and after each turn the PSNR."""
    training = RecipeTraining(Path(folder), variant)
    answer(training.steps, training.psnr)


def serve_product(size: str) -> None:
    """Serve products of two matrices."""
    matrix = torch.randn(int(size), int(size))

    def products(number: int) -> None:
        for _ in range(number):
            matrix @ matrix

    answer(products)


if __name__ == "__main__":
    {"train": serve, "recipe": serve_recipe, "product": serve_product}[sys.argv[1]](*sys.argv[2:])
