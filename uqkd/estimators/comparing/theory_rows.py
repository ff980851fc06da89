"""Theory against simulation, as one tidy row."""

from __future__ import annotations

import math

ROUNDING = 1e-9  # relative difference of two numbers that are equal but for rounding
FEWEST = 200  # replicates behind a variance that is judged: with fewer its own standard error is too uncertain


def comparison(
    statement: str,
    quantity: str,
    predicted: float,
    simulated: float,
    standard_error: float,
    *,
    variance_of: int | None = None,
) -> dict[str, str | float]:
    """One tidy row that holds a prediction against a simulation; a study puts its cell's columns before it.

    Parameters
    ----------
    statement : str
        "T1" ... "T12"; empty where the row is shown but not judged.
    quantity : str
        What is compared, in words.
    predicted, simulated, standard_error : float
        One unit; the standard error is that of `simulated`.
    variance_of : int, optional
        The quantity is a variance over so many replicates. A sample that happens to lack large values then has a small
        estimate and a small standard error at once, so z takes the standard error at the prediction,
        standard_error · predicted/simulated; below `FEWEST` replicates the row is not judged.

    Returns
    -------
    dict
        statement, quantity, predicted, simulated, standard_error and z. Where nothing is random z is NaN if
        the two agree (or nothing is predicted), and infinite if they do not.

    Notes
    -----
    At 1,000 replicates of a squared Gaussian |z| exceeds 4.8 once in 200,000 with the standard error at the prediction, and
    once in 900 without it (tests/report/test_figures.py checks the tail at 200).

    Examples
    --------
    >>> comparison("T1", "variance", 1.0, 1.5, 0.25)["z"]
    2.0
    >>> comparison("T1", "variance", 1.0, 0.5, 0.05, variance_of=1000)["z"]
    -5.0
    >>> comparison("T1", "variance of students that share every draw", 1.0, 0.0, 0.0)["z"]
    -inf
    """
    scale = predicted / simulated if variance_of is not None and simulated > 0 and predicted > 0 else 1.0
    gap = simulated - predicted
    if standard_error > 0:
        z = gap / (standard_error * scale)
    elif abs(gap) <= ROUNDING * max(abs(predicted), abs(simulated)) or gap != gap:
        z = float("nan")  # nothing random, nothing compared
    else:
        z = math.copysign(math.inf, gap)  # nothing varies, and it is not what was predicted
    judged = variance_of is None or variance_of >= FEWEST
    return {
        "statement": statement if judged else "",
        "quantity": quantity,
        "predicted": float(predicted),
        "simulated": float(simulated),
        "standard_error": float(standard_error),
        "z": float(z),
    }
