"""Architectures of classifiers: rows in, logits (rows, C) out. All of them can be stacked.

Any other factory of an `nn.Module` that treats rows independently does as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from uqkd.errors import OptionError

Factory = Callable[[], nn.Module]


def perceptron(inputs: int, classes: int, *, hidden: Sequence[int] = (64,)) -> nn.Sequential:
    """Multilayer perceptron with rectifiers; rows of any shape are flattened.

    Parameters
    ----------
    inputs : int
        Numbers in a row.
    classes : int
        C.
    hidden : sequence of int
        Widths of the hidden layers; none makes a multinomial logistic regression.

    Examples
    --------
    >>> import torch
    >>> perceptron(64, 10)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    check_sizes(inputs=inputs, classes=classes, hidden=min(hidden, default=1))
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise((inputs, *hidden, classes)):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutional(channels: int, classes: int, *, size: int, width: int = 16) -> nn.Sequential:
    """Small convolutional network: two 3×3 convolutions with rectifiers, the second with stride 2, a linear layer.

    Parameters
    ----------
    channels : int
        Of the images.
    classes : int
        C.
    size : int
        Height and width of the images; at least 4.
    width : int
        Channels of the first convolution; the second has twice as many.

    Examples
    --------
    >>> import torch
    >>> convolutional(1, 10, size=8)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    check_sizes(channels=channels, classes=classes, width=width, size=size)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.ReLU(),
        # strides: max-pooling took more time than the convolutions
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * ((size + 1) // 2) ** 2, classes),
    )


class Block(nn.Module):
    """Residual block of two 3×3 convolutions with batch normalisation (He et al. 2016).

    Parameters
    ----------
    before, after : int
        Channels in and out; where they differ the shortcut is a 1×1 convolution.
    stride : int
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) to (N, after, H/stride, W/stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


def residual(channels: int, classes: int, *, depth: int = 8, width: int = 16) -> nn.Sequential:
    """Residual network for small images, of He et al. (2016), section 4.2: three stages of widths w, 2w and 4w.

    Their shortcuts between stages have no parameters; these are projections (option B), 2,752 parameters more at w = 16.

    Parameters
    ----------
    channels : int
        Of the images.
    classes : int
        C.
    depth : int
        6n + 2 layers: 8, 14, 20, 32, 44, 56, 110.
    width : int
        w; 16 as published.

    Examples
    --------
    >>> sum(p.numel() for p in residual(3, 10, depth=20).parameters())  # 0.27 million, as published
    272474
    """
    check_sizes(channels=channels, classes=classes, width=width)
    blocks = check_depth(depth)
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for stage in range(3):
        for block in range(blocks):
            after = width * 2**stage
            layers.append(Block(before, after, 2 if stage and not block else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


class BagOfWords(nn.Module):
    """Mean of word vectors, a hidden layer, logits: rows of token ids to logits, whatever the order of the words.

    Parameters
    ----------
    vocabulary, classes : int
    pad : int
        Id of the padding token, which is left out.
    width : int
        Of the word vectors and of the hidden layer.

    Examples
    --------
    >>> import torch
    >>> BagOfWords(9, 3, pad=0)(torch.tensor([[2, 5, 3, 0]])).shape
    torch.Size([1, 3])
    """

    def __init__(self, vocabulary: int, classes: int, *, pad: int, width: int = 64) -> None:
        super().__init__()
        check_sizes(vocabulary=vocabulary, classes=classes, width=width)
        self.pad = pad
        self.words = nn.Embedding(vocabulary, width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, rows: Tensor) -> Tensor:
        """(N, L) token ids to (N, C)."""
        counted = (rows != self.pad).to(self.words.weight.dtype)[..., None]
        return self.head((self.words(rows) * counted).sum(1) / counted.sum(1).clamp(min=1.0))  # type: ignore[no-any-return]


def check_depth(depth: int) -> int:
    """Blocks a stage of a residual network of 6n + 2 layers: n, or `OptionError`.

    Examples
    --------
    >>> check_depth(20)
    3
    """
    blocks, left = divmod(depth - 2, 6)
    if left or blocks < 1:
        raise OptionError(f"residual needs a depth of 6n + 2 layers, such as 8, 14 or 20; got {depth}.")
    return blocks


def check_sizes(**sizes: int) -> None:
    """`OptionError` naming the size of a network that is too small."""
    for name, size in sizes.items():
        least = {"classes": 2, "size": 4}.get(name, 1)
        if size < least:
            raise OptionError(f"a classifier needs {name} >= {least}; got {name}={size}.")
