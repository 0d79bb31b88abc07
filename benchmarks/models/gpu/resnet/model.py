"""A network of the size and shape of ResNet-50 (He et al., 2015), with random weights."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from loop import BATCH, SIZES, print_rate

from runner import Batch, ModelClass


def network() -> nn.Module:
    """Return the network, on the CPU."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    width = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            layers.append(Bottleneck(width, 64 << stage, 2 if stage and not block else 1))
            width = 256 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 1000))


class Bottleneck(nn.Module):
    """Three convolutions beside a short cut."""

    def __init__(self, width: int, inner: int, stride: int) -> None:
        super().__init__()
        outer = 4 * inner
        self.way = nn.Sequential(
            *(nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU()),
            *(nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU()),
            *(nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer)),
        )
        short = (nn.Conv2d(width, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        self.short = nn.Sequential(*short) if width != outer or stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x: (images, width, height, width)."""
        return torch.relu(self.way(x) + self.short(x))


class Classifier(ModelClass):
    """Images in, scores out."""

    def load_model(self) -> None:
        """Make the network, in bf16."""
        self.net = network().eval().to(self.device, torch.bfloat16, memory_format=torch.channels_last)

    @ModelClass.method(
        max_batch_size=BATCH, batch_sizes=SIZES, example={"item": torch.zeros(224, 224, 3, dtype=torch.uint8)}
    )
    def predict(self, item: Batch[Tensor]) -> Batch[Tensor]:
        """Take uint8 (224, 224, 3), give float32 (1000,)."""
        with torch.inference_mode():
            pixels = (item.permute(0, 3, 1, 2).to(torch.bfloat16) - 127) / 128
            return self.net(pixels).float()


if __name__ == "__main__":
    model = Classifier()
    model.device = "cuda:0"
    model.load_model()
    images = torch.zeros(BATCH, 224, 224, 3, dtype=torch.uint8).pin_memory()
    print_rate(lambda: model.predict(images.to("cuda:0", non_blocking=True)), float(sys.argv[1]))
