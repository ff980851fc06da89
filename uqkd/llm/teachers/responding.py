"""The verb of all teachers of text: responses, drawn into a bank."""

from __future__ import annotations

from typing import Any

from uqkd.errors import OptionError
from uqkd.llm.bank.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.responses import Responses
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.teacher import Teacher


class Responding:
    """The verb of all teachers of text, in terms of what a `Teacher` streams."""

    def respond(
        self: Teacher, prompts: Prompts, k: int, *, students: int, key: tuple[Any, ...], sampling: Sampling, bank: Bank
    ) -> Responses:
        """k independent responses per prompt for each of S students; those that the bank has are not drawn again.

        Parameters
        ----------
        prompts : Prompts
        k : int
            Responses per prompt, >= 1.
        students : int
            S, the number of independent sets of responses.
        key : tuple
            Names the draws: one seed for each response.
        sampling : Sampling
        bank : Bank
            Of this teacher, sampling and key, or empty. `uqkd.llm.fill_bank`, which fills it, has options for long runs.

        Returns
        -------
        Responses
            (S, P, k).
        """
        if k < 1 or students < 1:
            raise OptionError(f"respond needs k >= 1 and students >= 1; got k={k}, students={students}.")
        fill_bank(self, prompts, students * k, bank=bank, sampling=sampling, key=key)
        return bank.responses(prompts, students=students, k=k, per_student=k)
