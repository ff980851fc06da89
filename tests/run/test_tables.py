"""Tables over students, by hand."""

import numpy as np
import pandas as pd
import pytest

from uqkd.testbeds.tables import over_students


def test_means_are_over_students_of_one_setting_and_the_teacher_stands_beside():
    rows = [
        *(("a", "student", s, "nll", value) for s, value in enumerate((1.0, 2.0, 6.0))),
        ("a", "teacher", 0, "nll", 100.0),
        *(
            ("a", "student", s, "kl", value) for s, value in enumerate((1.0, 1.0))
        ),  # a teacher is at no distance of itself
        *(("b", "student", s, "nll", value) for s, value in enumerate((4.0, np.nan, 8.0))),
        ("b", "teacher", 0, "nll", 200.0),
        ("b", "teacher", 0, "alone", 300.0),
    ]
    found = over_students(pd.DataFrame(rows, columns=["method", "who", "student", "measure", "value"]), ["method"])
    assert list(zip(found["method"], found["measure"], strict=True)) == [("a", "nll"), ("a", "kl"), ("b", "nll")]
    assert found["value"].tolist() == [3.0, 1.0, 6.0]
    assert found["students"].tolist() == [3, 2, 2]  # those that have the measure
    assert found["standard_error"].to_numpy() == pytest.approx([np.sqrt(7 / 3), 0.0, 2.0])  # s² = 7 and 8
    np.testing.assert_array_equal(found["of_teacher"], [100.0, np.nan, 200.0])
