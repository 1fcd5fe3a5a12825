"""GLO in idiomatic PyTorch, as a baseline for our training step.

    python -m benchmarks.throughput

The model is that of the public PyTorch implementations: transposed convolutions of 512-256-128-64 filters with 4x4 kernels, batch
normalization, Lap1 loss of three levels, plain SGD on decoder and codes, and images in memory that a `DataLoader` serves. Nothing is done
to slow it down or to speed it up. It needs the extra ``bench``, which installs PyTorch.
"""

import sys
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.turns import answer

NUM_FILTERS = (512, 256, 128, 64)
KERNEL_SIZE, NUM_DIMS, BATCH_SIZE, LEVELS = 4, 100, 128, 3


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

    def __init__(self):
        super().__init__()
        layers = [nn.ConvTranspose2d(NUM_DIMS, NUM_FILTERS[0], 4, 1, 0, bias=False), nn.BatchNorm2d(NUM_FILTERS[0]), nn.ReLU(True)]
        for width_in, width in pairwise(NUM_FILTERS):
            layers += [nn.ConvTranspose2d(width_in, width, KERNEL_SIZE, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(NUM_FILTERS[-1], 3, KERNEL_SIZE, 2, 1), nn.Tanh())

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return self.layers(codes[:, :, None, None])


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
    """The training loop; `steps` takes a number of steps of it."""

    def __init__(self, images: np.ndarray, seed: int = 0):
        torch.manual_seed(seed)
        self.loader = DataLoader(IndexedImages(images), batch_size=BATCH_SIZE, shuffle=True, drop_last=True)
        self.batches = iter(self.loader)
        self.decoder, self.loss = Decoder(), Lap1Loss()
        codes = torch.randn(len(images), NUM_DIMS)
        self.codes = nn.Parameter(codes / codes.norm(dim=1, keepdim=True))
        self.optimizer = torch.optim.SGD([{"params": self.decoder.parameters(), "lr": 1.0}, {"params": [self.codes], "lr": 10.0}])

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


def serve(num_images: int) -> None:
    """Serve training steps on images of noise."""
    images = np.random.default_rng(0).uniform(-1, 1, (num_images, 64, 64, 3)).astype(np.float32)
    answer(Training(images).steps)


def serve_product(size: int) -> None:
    """Serve products of two matrices."""
    matrix = torch.randn(size, size)

    def products(number: int) -> None:
        for _ in range(number):
            matrix @ matrix

    answer(products)


if __name__ == "__main__":
    {"train": serve, "product": serve_product}[sys.argv[1]](int(sys.argv[2]))
