"""The base of other papers' modules: features times a gain that may differ by channel, position or both."""

from __future__ import annotations

from torch import Tensor, nn

from ..ulsam import apply_gain


class Gate(nn.Module):
    """A module that multiplies features by a gain; its own file says how the gain is made.

    Attributes:
        title: Its name and paper, for people.
        channels: Channels m of the input.
        groups: Maps that it has: one, the mean over channels.
    """

    title: str
    groups = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def gate(self, x: Tensor) -> Tensor:
        """Return the gain of features (N, m, H, W), in a shape that broadcasts to theirs."""
        raise TypeError(f"{type(self).__name__} has no gain of its own")

    def excess(self, x: Tensor) -> Tensor:
        """Return the gain minus 1, shape (N, m, H, W)."""
        return (self.gate(x) - 1).expand_as(x)

    def attention(self, x: Tensor) -> Tensor:
        """Return where the gain is large, shape (N, 1, H, W): its mean over channels, scaled to sum to 1.

        Times H * W it is the gain relative to its mean, which compares with ULSAM's; uniform where only channels are
        weighed.
        """
        return _shares(self.gate(x).expand_as(x))

    def forward_with_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the re-weighted features (N, m, H, W) and the map (N, 1, H, W) of one pass."""
        gain = self.gate(x).expand_as(x)
        return apply_gain(x, gain - 1), _shares(gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return the re-weighted features, shape (N, m, H, W)."""
        return x * self.gate(x)


def _shares(gain: Tensor) -> Tensor:
    over_places = gain.mean(1, keepdim=True)
    return over_places / over_places.sum((2, 3), keepdim=True)
