"""The factory, and what stacked networks answer without torch."""

import numpy as np
import pytest
import torch

from uqkd.errors import OptionError, ShapeError
from uqkd.mlp import initialisation, mlp, network

SIZES = (3, 7, 5, 2)
X = np.linspace(-2, 2, 30).reshape(10, 3)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("sizes", [SIZES, (3, 4, 1), (3, 2)])
def test_answers_are_those_of_each_module_alone(sizes, activation):
    stacked = initialisation(sizes, np.arange(4), key=("test", "network"))
    found = network.answers(stacked, X, activation=activation)
    for student in range(4):
        module = _quiet(sizes, activation).double()
        module.load_state_dict({name: torch.from_numpy(values[student]) for name, values in stacked.items()})
        alone = module(torch.from_numpy(X)).detach().numpy()
        np.testing.assert_allclose(found[student], alone, rtol=0, atol=1e-14)  # sums of 8 products of size 1


def test_answers_do_not_depend_on_the_blocks_they_are_made_in(monkeypatch):
    stacked = initialisation(SIZES, np.arange(5), key=("test", "network"))
    whole = network.answers(stacked, X)
    monkeypatch.setattr(network, "BLOCK_VALUES", 2 * 10 * 7)  # two students at a time
    np.testing.assert_array_equal(network.answers(stacked, X), whole)


def test_float32_parameters_answer_in_float64():
    stacked = {n: v.astype(np.float32) for n, v in initialisation(SIZES, [0], key=("test", "network")).items()}
    wide = {n: v.astype(np.float64) for n, v in stacked.items()}
    np.testing.assert_array_equal(network.answers(stacked, X), network.answers(wide, X))


def test_shapes_are_those_of_the_module():
    module = _quiet(SIZES)
    assert {n: tuple(p.shape) for n, p in module.named_parameters()} == network.parameter_shapes(SIZES)


def test_bad_networks_are_refused():
    with pytest.raises(OptionError, match=r"got \(3,\)"):
        mlp((3,))
    with pytest.raises(OptionError, match=r"got \(3, 0, 1\)"):
        mlp((3, 0, 1))
    with pytest.raises(OptionError, match="did you mean 'tanh'"):
        mlp((3, 1), "tan")
    stacked = initialisation(SIZES, [0], key=("test", "network"))
    with pytest.raises(ShapeError, match="X has 2 features but the networks were trained on 3"):
        network.answers(stacked, X[:, :2])


def _quiet(*arguments):
    """A module built without moving torch's global state."""
    with torch.random.fork_rng(devices=[]):
        return mlp(*arguments)
