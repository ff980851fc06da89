"""Sampling parameters: explicit and within their ranges."""

from __future__ import annotations

import math

import pytest

from uqkd.errors import OptionError
from uqkd.llm.sampling import Sampling


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 0.001),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", "1"),
        ("temperature", True),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("repetition_penalty", 0.0),
        ("top_k", -1),
        ("top_k", 2.0),
        ("top_k", True),
        ("max_tokens", 0),
        ("max_tokens", 1.5),
    ],
)
def test_out_of_range(name, value):
    with pytest.raises(OptionError, match=rf"^{name} must be .*; got "):
        Sampling(**{name: value})


def test_edges_are_allowed_and_columns_are_plain_numbers():
    edges = Sampling(temperature=0, top_p=1, top_k=0, min_p=0, repetition_penalty=1, max_tokens=1)
    assert edges.columns() == {
        "temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "max_tokens": 1
    }  # fmt: skip
    assert not edges.is_random
    assert edges != Sampling(temperature=1.0, max_tokens=1)
