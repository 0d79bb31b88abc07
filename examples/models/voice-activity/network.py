"""The network of Silero VAD at 16 kHz: a window of many streams at a time, what it remembers comes in and goes out."""

from __future__ import annotations

import warnings
from importlib.resources import files

import torch
from torch import Tensor
from torch.nn import functional

WINDOW = 512  # samples of a step, 32 ms
TAIL = 64  # samples of the last window that are heard once more before the next
MEMORY = 128  # numbers in each of the two states of the recurrent cell
_REACH = 64  # samples by which a window is mirrored at its end
_BANDS = 129  # of the spectrum: a row of cosines and one of sines for each
_HOP = 128  # samples between two spectra
_STRIDES = (1, 2, 2, 1)  # of the convolutions
_16_KHZ = "_model."  # the part of the package's file that is for this rate


class Network:
    """The weights, and one step."""

    def __init__(self, device: str) -> None:
        """Read the weights from the package's TorchScript file, whose own code keeps one stream's state in itself."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the format, from torch 2.13 on
            script = torch.jit.load(str(files("silero_vad.data") / "silero_vad.jit"), map_location=device)
        weights = {name.removeprefix(_16_KHZ): tensor for name, tensor in script.state_dict().items()}
        self._waves = weights["stft.forward_basis_buffer"]
        self._convolutions = [
            (weights[f"encoder.{place}.reparam_conv.weight"], weights[f"encoder.{place}.reparam_conv.bias"], stride)
            for place, stride in enumerate(_STRIDES)
        ]
        self._cell = [weights[f"decoder.rnn.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        self._last = weights["decoder.decoder.2.weight"].squeeze(-1), weights["decoder.decoder.2.bias"]

    @torch.inference_mode()
    def step(self, heard: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Hear one window of each stream.

        Args:
            heard: (streams, TAIL + WINDOW), the end of each stream's last window before the new one.
            memory: (2, streams, MEMORY), as the last step returned it; zeros at the beginning.

        Returns:
            The probabilities of speech (streams,), and what is to be remembered.
        """
        mirrored = functional.pad(heard, (0, _REACH), "reflect").unsqueeze(1)
        waves = functional.conv1d(mirrored, self._waves, stride=_HOP)
        x = (waves[:, :_BANDS].square() + waves[:, _BANDS:].square()).sqrt()
        for weight, bias, stride in self._convolutions:
            x = functional.conv1d(x, weight, bias, stride, padding=1).relu()
        hidden, cell = torch.lstm_cell(x.squeeze(-1), (memory[0], memory[1]), *self._cell)
        return functional.linear(hidden.relu(), *self._last).sigmoid().squeeze(-1), torch.stack((hidden, cell))
