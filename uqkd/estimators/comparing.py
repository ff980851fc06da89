"""Theory against simulation, as one tidy row."""

from __future__ import annotations


def comparison(
    statement: str, quantity: str, predicted: float, simulated: float, standard_error: float
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

    Returns
    -------
    dict
        The five arguments and z = (simulated − predicted)/standard_error; NaN where nothing is random.

    Examples
    --------
    >>> comparison("T1", "variance", 1.0, 1.5, 0.25)["z"]
    2.0
    """
    z = (simulated - predicted) / standard_error if standard_error > 0 else float("nan")
    return {
        "statement": statement,
        "quantity": quantity,
        "predicted": float(predicted),
        "simulated": float(simulated),
        "standard_error": float(standard_error),
        "z": float(z),
    }
