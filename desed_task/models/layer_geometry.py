"""Where the places of a convolutional network's maps lie on what the network hears, along time or along frequency.

    from desed_task.models.layer_geometry import Layer, place_after
    place_after([Layer(7, 2, 3), Layer(3, 2, 1)], 100)      # Place(size=25, step=4, first=0.0): a ResNet's stem

Layers that neither stride nor move their input (kernels of 3 padded by 1, pointwise ones) may be left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Layer(NamedTuple):
    """A convolution or a pool along one axis. padding: in front; behind: the same where None."""

    kernel_size: int
    stride: int = 1
    padding: int = 0
    behind: int | None = None


class Place(NamedTuple):
    """One axis of a map: its size; mel frames (or bands) from one to the next; the middle of the first on these."""

    size: int
    step: int = 1
    first: float = 0.0

    def after(self, layer: Layer) -> Place:
        """What the layer makes of it."""
        behind = layer.padding if layer.behind is None else layer.behind
        return Place(
            (self.size + layer.padding + behind - layer.kernel_size) // layer.stride + 1,
            self.step * layer.stride,
            self.first + self.step * ((layer.kernel_size - 1) / 2 - layer.padding),
        )


def place_after(layers: Iterable[Layer], size: int = 0) -> Place:
    """The axis behind all layers; `size` of the input, which step and first do not depend on."""
    place = Place(size)
    for layer in layers:
        place = place.after(layer)
    return place
