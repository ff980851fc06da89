"""Wrong-mass clipping, of the teacher's distributions and of the shaped teacher's."""

from __future__ import annotations

from uqkd.classify.targets.methods import Target
from uqkd.classify.targets.wclip import wclip

TARGETS = (
    Target("W-Clip", wclip, needs=("labels",), projection="wclip", options=("margin",)),
    Target("DUS + W-Clip", wclip, needs=("labels",), begins="shaped_probabilities"),
)
