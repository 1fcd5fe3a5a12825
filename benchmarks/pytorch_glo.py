"""GLO in idiomatic PyTorch, as a baseline for our training step.

    python -m benchmarks.throughput          images per second
    python -m benchmarks.until ...           seconds until a PSNR is reached

The model is that of the public PyTorch implementations: transposed convolutions, batch normalization, images in memory. Nothing is done to
slow it down, and `VARIANTS` are what its documentation offers to speed it up on a CPU: channels last in memory, autocast to bfloat16, and a
compiled decoder (the Lap1 loss cannot be compiled in this version, because the gradient of its padding is missing). It needs PyTorch, which
the extra ``bench`` installs.
"""

import json
import math
import sys
from collections.abc import Sequence
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
VARIANTS = {"plain": "", "channels_last": "c", "bfloat16": "cb", "compiled": "cbk"}  # c: channels last, b: bfloat16, k: compiled
# Of batch normalization in `RecipeTraining`. The momentum is PyTorch's default, a decay of 0.9. Ours begins low and rises to 0.99; with
# 0.99 from the beginning, images in inference mode would lag behind for hundreds of steps.
NORM_MOMENTUM, NORM_EPSILON = 0.1, 1e-3


class IndexedImages(Dataset):
    """Images (N, 3, size, size) float32 in [-1, 1], each with its index."""

    def __init__(self, images: np.ndarray):
        self.images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))

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


class FastDecoder:
    """A decoder as one of the `VARIANTS`: called like the decoder itself, it gives images in float32."""

    def __init__(self, decoder: Decoder, variant: str):
        self.channels_last, self._bfloat16, compiled = (letter in VARIANTS[variant] for letter in "cbk")
        if self.channels_last:
            decoder = decoder.to(memory_format=torch.channels_last)
        self._decoder = torch.compile(decoder) if compiled else decoder

    def __call__(self, codes: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            images = self._decoder(codes)
        return images.float()

    def arrange(self, images: torch.Tensor) -> torch.Tensor:
        """Return a batch of images in the order in memory that the decoder uses."""
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images


class Lap1Loss(nn.Module):
    """Sum of the mean absolute differences of the levels of two Laplacian pyramids."""

    def __init__(self):
        super().__init__()
        taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("kernel", torch.outer(taps, taps).expand(3, 1, 5, 5).contiguous())

    def blur(self, images: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(functional.pad(images, (2, 2, 2, 2), mode="replicate"), self.kernel, groups=3)

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


class Training:
    """The training loop of the public implementations; `steps` takes a number of steps of it."""

    def __init__(self, images: np.ndarray, variant: str = "plain", seed: int = 0):
        torch.manual_seed(seed)
        self.loader = DataLoader(IndexedImages(images), batch_size=BATCH_SIZE, shuffle=True, drop_last=True)
        self.batches = iter(self.loader)
        decoder, self.loss = Decoder(), Lap1Loss()
        codes = torch.randn(len(images), NUM_DIMS)
        self.codes = nn.Parameter(codes / codes.norm(dim=1, keepdim=True))
        self.optimizer = torch.optim.SGD([{"params": decoder.parameters(), "lr": 1.0}, {"params": [self.codes], "lr": 10.0}])
        self.decoder = FastDecoder(decoder, variant)

    def step(self) -> float:
        try:
            index, images = next(self.batches)
        except StopIteration:
            self.batches = iter(self.loader)
            index, images = next(self.batches)
        self.optimizer.zero_grad()
        loss = self.loss(self.decoder.arrange(images), self.decoder(self.codes[index]))
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            rows = self.codes[index]
            self.codes[index] = rows / rows.norm(dim=1, keepdim=True)
        return loss.item()

    def steps(self, number: int) -> None:
        for _ in range(number):
            self.step()


class RecipeTraining:
    """Our recipe as a user of PyTorch would write it: codes from principal components, Adam, the codes by rows (`SparseAdam`).

    Args:
        folder: written by `benchmarks.until`: ``images.npy`` (N, size, size, 3) uint8, ``codes.npy`` (N, d), ``recipe.json``.
        variant: one of the `VARIANTS`.
        seed: of the weights and of the order of the images.
    """

    def __init__(self, folder: Path, variant: str = "plain", seed: int = 0):
        torch.manual_seed(seed)
        self.recipe = json.loads((folder / "recipe.json").read_text())
        # Batches are rows of one tensor: a DataLoader, which collects images one by one, would take longer than it must.
        self.images = torch.from_numpy(np.load(folder / "images.npy").transpose(0, 3, 1, 2).copy())
        self.codes = nn.Embedding.from_pretrained(torch.from_numpy(np.load(folder / "codes.npy")), freeze=False, sparse=True)
        self.radius, self.taken = math.sqrt(self.codes.embedding_dim), 0
        norm = {"momentum": NORM_MOMENTUM, "eps": NORM_EPSILON}
        self.network = Decoder(self.recipe["num_filters"], self.recipe["kernel_size"], self.codes.embedding_dim, **norm)
        for layer in self.network.layers:
            if isinstance(layer, nn.ConvTranspose2d):
                nn.init.xavier_uniform_(layer.weight)
        self.decoder = FastDecoder(self.network, variant)
        self.optimizers = [
            torch.optim.Adam(self.network.parameters(), self.recipe["learning_rate"]),
            torch.optim.SparseAdam(self.codes.parameters(), self.recipe["code_learning_rate"]),
        ]
        self.schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, self._scale) for optimizer in self.optimizers]
        self.order = torch.zeros(0, dtype=torch.int64)

    def _scale(self, step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.recipe["num_steps"])))

    def _next_rows(self) -> torch.Tensor:
        size = self.recipe["batch_size"]
        if len(self.order) < size:
            self.order = torch.randperm(len(self.images))
        rows, self.order = self.order[:size], self.order[size:]
        return rows

    def step(self) -> None:
        rows = self._next_rows()
        images = self.decoder.arrange(self.images[rows].float() / 127.5 - 1)
        loss = functional.mse_loss(self.decoder(functional.normalize(self.codes(rows))), images)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            self.codes.weight[rows] = functional.normalize(self.codes.weight[rows]) * self.radius

    def steps(self, number: int) -> None:
        for _ in range(number):
            self.step()

    def psnr(self) -> float:
        """Return the mean PSNR, in dB, of the images of the recipe in inference mode."""
        rows = torch.tensor(self.recipe["measured"])
        self.network.eval()
        with torch.no_grad():
            images = torch.cat([self.network(functional.normalize(self.codes(part))) for part in rows.split(128)])
        self.network.train()
        errors = (images - (self.images[rows].float() / 127.5 - 1)).square().mean(dim=(1, 2, 3))
        return float((10 * torch.log10(4 / errors)).mean())


def serve(num_images: str, variant: str = "plain") -> None:
    """Serve training steps on images of noise."""
    images = np.random.default_rng(0).uniform(-1, 1, (int(num_images), 64, 64, 3)).astype(np.float32)
    answer(Training(images, variant).steps)


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
