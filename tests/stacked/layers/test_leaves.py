"""Every stacked leaf computes for each student what torch's own layer computes for it alone."""

import numpy as np
import pytest
import torch
from torch import nn

from uqkd import seeds
from uqkd.errors import ShapeError
from uqkd.stacked import Stacked, stack
from uqkd.stacked.layers.basic import Dropout


def outputs_and_gradients(module, X, targets, **how):
    """Outputs, and the gradient of their squared distance from targets with respect to every parameter."""
    outputs = module(X, **how)
    return outputs, torch.autograd.grad((outputs - targets).square().sum(), list(module.parameters()))


@pytest.mark.parametrize("training", [True, False])
def test_outputs_gradients_and_statistics_are_those_of_each_student_alone(kind, problem, training):
    p = problem(kind, dtype="float64")
    p.model.train(training)
    alone = [p.model.student(s) for s in range(3)]
    outputs, gradients = outputs_and_gradients(p.model, p.X, p.targets, shared=False)
    for s, student in enumerate(alone):
        lone, lone_gradients = outputs_and_gradients(student, p.X[s], p.targets[s])
        torch.testing.assert_close(outputs[s], lone, rtol=1e-12, atol=1e-12)
        for stacked_gradient, gradient in zip(gradients, lone_gradients, strict=True):
            torch.testing.assert_close(stacked_gradient[s], gradient, rtol=1e-12, atol=1e-12)
        held = p.model.parameters_by_name(buffers=True)
        for name, value in student.state_dict().items():
            torch.testing.assert_close(held[name][s], value, rtol=1e-14, atol=1e-14)


def test_not_a_number_in_one_students_rows_reaches_no_bit_of_another(kind, problem):
    p = problem(kind, dtype="float32")
    clean, clean_gradients = outputs_and_gradients(p.model, p.X, p.targets, shared=False)
    for name, values in p.model.parameters_by_name().items():
        values[1] = torch.nan if "weight" in name else torch.inf
    outputs, gradients = outputs_and_gradients(p.model, p.X, p.targets, shared=False)
    assert not torch.isfinite(outputs[1]).any()
    for before, after in zip([clean, *clean_gradients], [outputs, *gradients], strict=True):
        assert torch.equal(before[[0, 2]], after[[0, 2]])


@pytest.mark.parametrize(("first", "second"), [(7, 0), (0, -1), (100, 0), (0, 7)])
def test_a_token_outside_the_vocabulary_is_an_error_and_not_another_students_row(first, second):
    model = Stacked.of(nn.Embedding(7, 2), 2)
    with pytest.raises(IndexError):
        model(torch.tensor([[[first]], [[second]]]), shared=False)


def test_padding_gets_no_gradient():
    model = Stacked.of(nn.Embedding(4, 2, padding_idx=1), 2)
    model(torch.tensor([[0, 1, 1, 3]])).sum().backward()
    (weight,) = model.parameters()
    assert weight.grad.sum(2).tolist() == [[2, 0, 0, 2]] * 2


def test_batch_norm_refuses_what_torch_refuses():
    model = Stacked.of(nn.BatchNorm1d(3), 2)
    with pytest.raises(ShapeError, match="at least two values per channel and student"):
        model(torch.zeros(1, 3))
    with pytest.raises(ShapeError, match=r"2 or 3 axes; got \(10, 3, 2, 2\)"):
        model(torch.zeros(5, 3, 2, 2))
    assert model.eval()(torch.ones(1, 3)).shape == (2, 1, 3)


def test_rows_that_are_not_students_times_rows_are_an_error():
    model = Stacked.of(nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (-1, 6)), nn.Linear(6, 1)), 2)
    with pytest.raises(ShapeError, match="its first axis is not S·N rows"):
        model(torch.zeros(5, 3))


# ---------------------------------------------------------------------------------------------------------- dropout


def masks(students, n, *, p=0.3, calls=1, key=("test", "dropout")):
    """Whether each entry was kept: (calls, S, n)."""
    model = Stacked.of(nn.Dropout(p), students, key=key).train()
    return torch.stack([model(torch.ones(1, n))[:, 0] for _ in range(calls)])


def test_dropout_scales_what_it_keeps_and_is_off_in_evaluation():
    kept = masks(2, 1000)
    assert set(kept.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.7))}
    model = Stacked.of(nn.Sequential(nn.Dropout(0.3)), 2, key=("test",)).eval()
    X = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(model(X)[1], X)
    assert torch.equal(Stacked.of(nn.Dropout(0.0), 2).train()(X)[0], X)
    assert not Stacked.of(nn.Dropout(1.0), 2, key=("test",)).train()(X).any()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_right_share_independently(p):
    """6 students × 4 calls × 50,000 entries: shares within 5 standard errors, no correlation beyond 5/√n."""
    n = 50_000
    kept = (masks(6, n, p=p, calls=4) > 0).double().reshape(24, n)
    share = kept.mean(1)
    assert (share - (1 - p)).abs().max() < 5 * np.sqrt(p * (1 - p) / n)
    centred = (kept - kept.mean(1, keepdim=True)) / kept.std(1, keepdim=True)
    across = centred @ centred.T / n - torch.eye(24)
    assert across.abs().max() < 5 / np.sqrt(n)  # students and calls
    for lag in (1, 2, 8, 64, 1000):
        assert (centred[:, lag:] * centred[:, :-lag]).mean(1).abs().max() < 5 / np.sqrt(n - lag)
    runs = kept.reshape(24, n // 2, 2).mean(1)
    assert (runs - (1 - p)).abs().max() < 5 * np.sqrt(2 * p * (1 - p) / n)  # odd and even places


def test_masks_depend_on_student_and_call_alone():
    both, first = masks(5, 64, calls=3), masks(2, 64, calls=3)
    assert torch.equal(both[:, :2], first)
    assert len({tuple(m.tolist()) for m in both.flatten(0, 1)}) == 15
    assert not torch.equal(masks(2, 64, key=("test", "other"))[0], first[0])


def test_two_dropouts_in_a_model_have_masks_of_their_own():
    model = stack(lambda: nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5)), 1, key=("test", "two"))
    one, two = (leaf.seeds for leaf in model.modules() if isinstance(leaf, Dropout))
    assert one != two


def test_dropout_draws_nothing_from_global_states():
    before = torch.random.get_rng_state()
    with seeds.ledger() as used:
        masks(2, 10)
    assert torch.equal(before, torch.random.get_rng_state())
    assert len(used.uses) == 2
