"""Responses with weights: what students of any layer are trained on. `uqkd.llm.weigh` does the same for texts."""

from __future__ import annotations

from typing import Any, Literal, overload

from numpy.typing import ArrayLike

from uqkd.errors import OptionError, one_of
from uqkd.targets import classes as of_classes
from uqkd.targets import numbers as of_numbers
from uqkd.targets.family import ClassTargets, NumberTargets, Targets

__all__ = ["ClassTargets", "NumberTargets", "Targets", "weigh"]


@overload
def weigh(  # type: ignore[overload-overlap]
    responses: Any,
    method: Literal["soft", "hard"],
    *,
    second: None = None,
    second_var: None = None,
    response_var: None = None,
    classes: int | None = None,
    students: int = 1,
) -> ClassTargets: ...
@overload
def weigh(
    responses: Any,
    method: str = "multi",
    *,
    second: ArrayLike | None = None,
    second_var: None = None,
    response_var: None = None,
    classes: int,
    students: int = 1,
) -> ClassTargets: ...
@overload
def weigh(
    responses: Any,
    method: str = "multi",
    *,
    second: ArrayLike | None = None,
    second_var: ArrayLike | None = None,
    response_var: ArrayLike | None = None,
    classes: None = None,
    students: int = 1,
) -> NumberTargets: ...
def weigh(
    responses: Any,
    method: str = "multi",
    *,
    second: ArrayLike | None = None,
    second_var: ArrayLike | None = None,
    response_var: ArrayLike | None = None,
    classes: int | None = None,
    students: int = 1,
) -> Targets:
    """Turn k responses per prompt into weighted responses.

    Parameters
    ----------
    responses : (S, P, k) float or int, or (P, C) float
        Numbers; class labels, where `classes` is given; or, for "soft" and "hard", the teacher's own distributions over
        classes, as if of endlessly many labels.
    method : str
        Of all: "single", the first response; "multi", all of them, 1/k each: the mean of numbers (also called "average"), the
        shares of labels.
        Of numbers and a second source: "oracle", the published variant, which blends in the teacher's noise-free mean with
        weights from the variance (ddof 0) of *one* response; "known", inverse-variance weights from known variances;
        "estimated", from each prompt's own sample variance (ddof 1); "shrunk", the same after empirical-Bayes shrinkage over
        prompts.
        Of labels and a second source: "precision", by the inverse of both squared errors, each estimated (k >= 2).
        Of distributions: "soft", as they are; "hard", all weight on the likeliest class (the first of equal ones).
    second : (P,) or (S, P) float, or (P, C) float
        Second source: predictions of an independent student (for "oracle" the teacher's mean); with labels its distributions,
        made without these labels, such as those of cross-fitted students.
    second_var : float or (P,) or (S, P) float
        Its variance, of numbers.
    response_var : float
        Known variance of one response, for "known".
    classes : int, optional
        C: the responses are labels 0 ... classes − 1.
    students : int
        S, with distributions, which are the same for every student.

    Returns
    -------
    NumberTargets or ClassTargets

    Raises
    ------
    OptionError
        Unknown method, or one of other responses; a second source missing or not wanted.
    ShapeError, DataError
        Labels or distributions of other axes, or that are none.
    VarianceError
        Variances that are not positive, or one response where a variance is estimated from them.

    Notes
    -----
    T4 ("single", "multi"), T6, T7: the weight on the mean of k responses is k·second_var/(response_var + k·second_var).

    Examples
    --------
    >>> import numpy as np
    >>> responses = np.array([[[1.0, 3.0]]])
    >>> weigh(responses).values
    array([[2.]])
    >>> weigh(responses, "known", second=np.array([4.0]), second_var=1.0, response_var=2.0).values
    array([[3.]])
    >>> weigh([[[2, 0]]], classes=3).probabilities, weigh([[[2, 0]]], "single", classes=3).probabilities
    (array([[[0.5, 0. , 0.5]]]), array([[[0., 0., 1.]]]))
    >>> weigh([[0.2, 0.8]], "hard").probabilities
    array([[[0., 1.]]])
    >>> weigh([[[0, 1], [0, 0]]], "precision", second=[[0.5, 0.5], [0.5, 0.5]], classes=2).probabilities
    array([[[0.5, 0.5],
            [0.5, 0.5]]])
    """
    distributed = method in of_classes.OF_DISTRIBUTIONS
    _check(method, classes, distributed, second=second, second_var=second_var, response_var=response_var)
    if distributed:
        return of_classes.weighted_distributions(responses, method, students=students)
    if students != 1:
        raise OptionError(f"students={students} is for 'soft' and 'hard'; responses (S, P, k) say their S themselves.")
    if classes is not None:
        return of_classes.weighted_labels(responses, method, classes=classes, second=second)
    return of_numbers.weighted_numbers(
        responses, method, second=second, second_var=second_var, response_var=response_var
    )


def _check(method: str, classes: int | None, distributed: bool, **sources: Any) -> None:
    """`OptionError` for a method of other responses, and for a second source that is missing or not wanted."""
    own = of_numbers.METHODS if classes is None else of_classes.METHODS
    if not distributed and method not in own and method in (*of_numbers.METHODS, *of_classes.METHODS):
        remedy = "class labels; pass classes=" if classes is None else "numbers; leave classes= out"
        raise OptionError(f"method {method!r} is one of {remedy}.")
    one_of("method", method, (*own, *of_classes.OF_DISTRIBUTIONS))
    wanted: tuple[str, ...] = ()
    if not distributed and method == "precision":
        wanted = ("second",)
    elif not distributed and method in of_numbers.BLENDING:
        wanted = ("second", "second_var", *(("response_var",) if method == "known" else ()))
    needed = [name for name in wanted if name != "response_var" and sources[name] is None]
    if needed:
        raise OptionError(
            f"method {method!r} combines two sources; pass {' and '.join(f'{name}=' for name in wanted[:2])}."
        )
    for name, given in sources.items():
        if given is not None and name not in wanted:
            raise OptionError(f"method {method!r} has no use for {name}=; leave it out.")
