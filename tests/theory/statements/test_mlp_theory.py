"""T8, against the engine's own training: without a hidden layer, where it is exact (and T1 in the end), and with one."""

import itertools

import numpy as np
import pytest

from uqkd.errors import OptionError, ShapeError, VarianceError
from uqkd.linear import Design
from uqkd.mlp import Recipe, SeedDesign, distill, fitting, weigh
from uqkd.mlp.network import answers
from uqkd.seeds import generator
from uqkd.theory.checks import Check, evaluate, networks
from uqkd.theory.statements import networks as theory

X = generator("test", "mlp theory", "train").standard_normal((30, 4))
POINTS = generator("test", "mlp theory", "points").standard_normal((5, 4))


def trained(weight, bias, y, *, lr, steps):
    begin = {"0.weight": np.array(weight)[None, None, :], "0.bias": np.array([[bias]])}
    recipe = Recipe(steps=steps, optimiser="sgd", lr=lr)
    p = fitting.fit(begin, X, y[:, None], recipe, loss="mse", dtype="float64").parameters
    return POINTS @ p["0.weight"][0, 0] + p["0.bias"][0, 0]


@pytest.mark.parametrize("steps", [1, 7, 200])
def test_memory_and_sensitivity_are_what_training_does(steps):
    """Training is linear in where it begins and in the labels: unit vectors read both off the engine, to rounding."""
    about = theory.gradient_descent(X, POINTS, lr=0.1, steps=steps)
    for i in range(5):
        unit = np.eye(5)[i]
        np.testing.assert_allclose(
            trained(unit[:4], unit[4], np.zeros(30), lr=0.1, steps=steps), about.memory[:, i], atol=1e-13
        )
    for row in (0, 13, 29):
        y = np.eye(30)[row]
        np.testing.assert_allclose(
            trained(np.zeros(4), 0.0, y, lr=0.1, steps=steps), about.sensitivity[:, row], atol=1e-13
        )


def test_after_long_training_it_is_least_squares():
    about = theory.gradient_descent(X, POINTS, lr=0.2, steps=20_000)
    leverage = Design.of(np.column_stack([X, np.ones(30)])).leverage_at(np.column_stack([POINTS, np.ones(5)]))
    np.testing.assert_allclose(about.slope(2.5), 2.5 * leverage, rtol=1e-10)
    assert np.abs(about.memory).max() < 1e-10


def test_a_direction_without_data_keeps_its_memory():
    """A constant zero feature: its weight is never trained; the sensitivity does not divide by zero."""
    rows = np.column_stack([X, np.zeros(30)])
    points = np.column_stack([POINTS, np.ones(5)])
    about = theory.gradient_descent(rows, points, lr=0.1, steps=300)
    np.testing.assert_allclose(about.memory[:, 4], 1.0, rtol=1e-12)
    plain = theory.gradient_descent(X, POINTS, lr=0.1, steps=300)
    np.testing.assert_allclose(about.sensitivity, plain.sensitivity, atol=1e-12)


def test_floor_and_slope_add_up():
    about = theory.gradient_descent(X, POINTS, lr=0.1, steps=7)
    np.testing.assert_allclose(
        about.inter_student_variance(2.0, 4, initial_var=0.3), about.floor(0.3) + about.slope(2.0) / 4, rtol=1e-15
    )
    np.testing.assert_allclose(about.floor(np.full(5, 0.3)), 0.3 * (about.memory**2).sum(axis=1), rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: theory.gradient_descent(X, POINTS, lr=9.0, steps=3), OptionError, "diverges; got steps=3, lr=9.0"),
        (lambda: theory.gradient_descent(X, POINTS, lr=0.1, steps=0), OptionError, "steps >= 1"),
        (lambda: theory.gradient_descent(X, POINTS[:, :2], lr=0.1, steps=1), ShapeError, "4 features but X_test has 2"),
        (lambda: theory.default_initial_var(0), OptionError, "at least one feature"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_the_largest_rate_is_the_one_at_which_training_stops_to_converge():
    """A direction is multiplied by 1 − 2·lr·λ/n per step: refused where that is below −1, and not before."""
    design = np.column_stack([X, np.ones(30)])
    most = 30 / np.linalg.eigvalsh(design.T @ design).max()
    assert np.abs(theory.gradient_descent(X, POINTS, lr=0.99 * most, steps=10_000).memory).max() < 1e-10
    with pytest.raises(OptionError, match="diverges"):
        theory.gradient_descent(X, POINTS, lr=1.01 * most, steps=3)


def test_bad_variances_are_refused():
    about = theory.gradient_descent(X, POINTS, lr=0.1, steps=7)
    with pytest.raises(VarianceError, match="noise_var"):
        about.slope(-1.0)
    with pytest.raises(VarianceError, match="initial_var"):
        about.floor([np.nan] * 5)
    with pytest.raises(OptionError, match="k=0"):
        about.inter_student_variance(1.0, 0, initial_var=1.0)


@pytest.mark.parametrize(
    "options", [{}, {"noise_var": 0.0}, {"freeze": ("initialisation",)}], ids=["both", "initialisation", "noise"]
)
def test_the_checks_of_t8_train_every_student_once(monkeypatch, options):
    """Students come in blocks. Were the draws of a block those of the one before, the variance would stay right and its
    standard error, which counts students, would be too small."""
    monkeypatch.setattr(networks, "BLOCK", 3)
    assert len(np.unique(networks._students(**options)(8, ("test", "blocks", *options)))) == 8


ROWS, LABELS, POINT = np.array([[0.5], [1.0], [2.0]]), np.array([-2.0, 1.0, 2.0]), np.array([[1.0]])
TWO_STEPS = Recipe(steps=2, optimiser="sgd", lr=0.5)


def starts_of_one_unit(nodes):
    """Starts of a network of one tanh unit, as the engine draws them, uniform on (−1, 1): Gauss–Legendre nodes and weights."""
    at, weight = np.polynomial.legendre.leggauss(nodes)
    grid = np.array(list(itertools.product(at, repeat=4)))
    names = {"0.weight": (1, 1), "0.bias": (1,), "2.weight": (1, 1), "2.bias": (1,)}
    begin = {name: grid[:, i].reshape(-1, *shape) for i, (name, shape) in enumerate(names.items())}
    return begin, np.array(list(itertools.product(weight / 2, repeat=4))).prod(axis=1)


def training(begin, recipe, *, point=POINT):
    def train(labels):
        fitted = fitting.fit(begin, ROWS, labels[:, None], recipe, loss="mse", activation="tanh", dtype="float64")
        return answers(fitted.parameters, point, activation="tanh")[:, :, 0]

    return train


def test_small_noise_is_exact_where_answers_are_quadratic_in_their_labels():
    """f = a + bᵀy + yᵀQy/2 with a, b and Q of three starts: central differences have no error of their own."""
    draw = generator("test", "mlp theory", "quadratic")
    a, b, Q = draw.standard_normal(3), draw.standard_normal((3, 4)), draw.standard_normal((3, 4, 4))
    Q, at, chance = Q + Q.transpose(0, 2, 1), draw.standard_normal(4), np.array([0.2, 0.3, 0.5])
    about = theory.small_noise(
        lambda y: (a + b @ y + np.einsum("nij,i,j->n", Q, y, y) / 2)[:, None], at, weights=chance
    )
    f, s, trace = a + b @ at + np.einsum("nij,i,j->n", Q, at, at) / 2, b + Q @ at, np.trace(Q, axis1=1, axis2=2)
    np.testing.assert_allclose(about.floor, np.cov(f, aweights=chance, ddof=0), rtol=1e-13)
    np.testing.assert_allclose(about.sensitivity, chance @ (s**2).sum(axis=1), rtol=1e-10)
    covariance = np.cov(f, trace, aweights=chance, ddof=0)[0, 1]
    np.testing.assert_allclose(about.covariance, covariance, rtol=1e-7)  # rounding of f over step²: 1e-16/1e-6
    np.testing.assert_allclose(
        about.inter_student_variance(3.0, 2), about.floor + 1.5 * (about.sensitivity + about.covariance), rtol=1e-15
    )


def test_without_a_hidden_layer_there_is_no_covariance():
    """Starts ±√V for each parameter have the mean and variance that T8a asks for: the same floor and the same slope."""
    grid = np.array(list(itertools.product([-1.0, 1.0], repeat=2))) * np.sqrt(0.3)
    begin = {"0.weight": grid[:, :1, None], "0.bias": grid[:, 1:]}
    points = np.array([[1.0], [-3.0]])
    recipe = Recipe(steps=5, optimiser="sgd", lr=0.2)
    about = theory.small_noise(training(begin, recipe, point=points), LABELS, weights=np.full(4, 0.25))
    exact = theory.gradient_descent(ROWS, points, lr=0.2, steps=5)
    np.testing.assert_allclose(about.floor, exact.floor(0.3), rtol=1e-12)
    np.testing.assert_allclose(about.sensitivity, exact.slope(1.0), rtol=1e-9)
    assert np.abs(about.covariance).max() < 1e-7  # rounding of answers near 5 over step²


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labels", "recipe", "x", "sign"),
    [(LABELS, TWO_STEPS, 1.0, -1), (np.full(3, 4.0), Recipe(steps=20, optimiser="sgd", lr=0.2), 0.0, 1)],
    ids=["draws starts together", "drives them apart"],
)
def test_the_covariance_is_in_the_variance_between_starts(labels, recipe, x, sign):
    """Law of total variance with five-point Gauss–Hermite noise on labels, exact but for terms of v²: the variance between
    starts of their mean answer has the covariance, the variance within a start the sensitivity. Errors fall with v: of terms
    of v² a quarter is left at a quarter of v, next to a covariance or sensitivity that should be there; of v^{3/2} a half."""
    begin, chance = starts_of_one_unit(3)  # of whatever distribution of starts the statement holds
    train = training(begin, recipe, point=np.array([[x]]))
    about = theory.small_noise(train, labels, weights=chance)
    assert sign * about.covariance[0] > 0.1 * about.sensitivity[0]
    at, weight = np.polynomial.hermite_e.hermegauss(5)
    left = []
    for v in (4e-3, 1e-3):
        mean, square = 0.0, 0.0
        for i in itertools.product(range(5), repeat=3):
            f, p = train(labels + np.sqrt(v) * at[list(i)])[:, 0], (weight[list(i)] / weight.sum()).prod()
            mean, square = mean + p * f, square + p * f**2
        between, within = chance @ (mean - chance @ mean) ** 2, chance @ (square - mean**2)
        left.append(
            np.array([(between - about.floor[0]) / v / about.covariance[0], within / v / about.sensitivity[0]]) - 1.0
        )
    assert np.abs(left[1]).max() < 0.05
    assert (np.abs(left[1]) < np.abs(left[0]) / 3.5).all()


def students_of_one_unit(*, freeze=()):
    """Answers of independent students with a hidden layer, each with its own start and its own noise of variance .1."""

    def simulate(n, key):
        noise = generator(*key, "noise").standard_normal((n, 3, 1))
        targets = weigh(LABELS[:, None] + np.sqrt(0.1) * noise)
        students = distill(
            ROWS, targets, hidden=(1,), activation="tanh", recipe=TWO_STEPS, key=key, dtype="float64",
            seed_design=SeedDesign.independent(n, freeze=freeze),
        )  # fmt: skip
        return students.predict_mean(POINT)[:, 0]

    return simulate


@pytest.mark.slow
def test_students_with_a_hidden_layer_vary_by_the_covariance_too():
    """Own starts and own noise, the variance between students alone: with the covariance it is right, without it is not.

    The rest of the expansion, O(v²), is .02 % of the variance here (by quadrature), the standard error .7 %. It is no check
    of the register, whose predictions have no rest.
    """
    begin, chance = starts_of_one_unit(14)
    about = theory.small_noise(training(begin, TWO_STEPS), LABELS, weights=chance)
    floor, sensitivity, covariance = (float(part[0]) for part in (about.floor, about.sensitivity, about.covariance))
    assert -covariance > sensitivity / 2  # most of what sensitivity alone would give is taken away
    check = Check(
        "T8",
        "inter-student variance of networks with a hidden layer",
        float(about.inter_student_variance(0.1, 1)[0]),
        students_of_one_unit(),
        "variance",
        {
            "forgets the covariance": floor + 0.1 * sensitivity,
            "adds it where it is to be subtracted": floor + 0.1 * (sensitivity - covariance),
            "forgets the initialisation": 0.1 * (sensitivity + covariance),
        },
        {"same initialisation for all": students_of_one_unit(freeze=("initialisation",))},
    )
    right, *wrong = evaluate(check)
    assert not right.rejected, right
    assert all(outcome.rejected for outcome in wrong), wrong


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: theory.small_noise(lambda y: np.zeros((2, 1)), [0.0], weights=[0.5, 0.4]), OptionError, "sum of 0.9"),
        (lambda: theory.small_noise(lambda y: np.zeros((1, 1)), [0.0], weights=[1.0], step=0.0), OptionError, "step"),
        (lambda: theory.SmallNoise(*np.ones((3, 1))).inter_student_variance(1.0, 0), OptionError, "k=0"),
        (lambda: theory.SmallNoise(*np.ones((3, 1))).inter_student_variance(-1.0, 1), VarianceError, "noise_var"),
    ],
)  # fmt: skip
def test_bad_input_to_small_noise_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()
