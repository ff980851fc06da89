"""One teacher's bank for several methods: responses of each student's own, others that no student sees, and answers to both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from uqkd.llm.bank import Bank
from uqkd.llm.bank.auditing import audit
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.measuring.answers.drawing import draw_students
from uqkd.llm.measuring.held_out import HeldOut, loss_of_folder
from uqkd.llm.measuring.tables.coded import answer_table
from uqkd.llm.models.revision import check_model, model_revision
from uqkd.llm.prompts import Prompts, read_prompts
from uqkd.llm.responses import Responses
from uqkd.llm.sampling import Sampling
from uqkd.llm.students.distilling import distill
from uqkd.llm.students.second_source import targets_of
from uqkd.llm.students.training.resuming import Keep
from uqkd.llm.teachers.teacher import Teacher


@dataclass(frozen=True)
class Experiment:
    """Questions in parts, the first of which students are trained on.

    Attributes
    ----------
    folder : Path
        Of the bank, and of what students answer.
    to_teacher, to_students : mapping of part to Prompts
        The same questions as the teacher is asked them, with examples perhaps, and as students are.
    students, per_student : int
        Students of a method, and responses set aside for each of them.
    reference : int
        Responses to each question that no student sees: the teacher's distribution.
    sampling : Sampling
        Of the teacher and of students.
    """

    folder: Path
    to_teacher: Mapping[str, Prompts]
    to_students: Mapping[str, Prompts]
    students: int
    per_student: int
    reference: int
    sampling: Sampling

    @classmethod
    def read(
        cls,
        folder: str | Path,
        files: Mapping[str, str],
        *,
        examples: Sequence[Sequence[str]] = (),
        form: str = "{}",
        **how: Any,
    ) -> Experiment:
        """From files of prompts by part.

        Parameters
        ----------
        folder : path
        files : mapping of part to path
        examples : sequence of (role, text)
            Turns of a chat before each question to the teacher; students are asked without.
        form : str
            What is asked of a question.
        **how
            The other attributes.
        """
        to_teacher, to_students = {}, {}
        for part, file in files.items():
            read = read_prompts(file)
            texts, turns = tuple(form.format(text) for text in read.texts), [(role, said) for role, said in examples]
            chats = tuple((*turns, ("user", text)) for text in texts) if turns else ()
            to_teacher[part] = Prompts(read.ids, texts, read.answers, chats)
            to_students[part] = Prompts(read.ids, texts, read.answers)
        return cls(Path(folder), to_teacher, to_students, **how)

    @property
    def trained(self) -> str:
        """The part that students are trained on."""
        return next(iter(self.to_teacher))

    def _own(self, part: str) -> int:
        """Responses to each question of a part that are students' own; held-out questions have none."""
        return self.students * self.per_student if part == self.trained else 0

    @property
    def _bank(self) -> Bank:
        return Bank(self.folder / "bank", create=False)

    def fill(self, open_teacher: Callable[[], Teacher], *, key: tuple[Any, ...]) -> None:
        """Draw what the bank lacks, and audit it."""
        bank, teacher = Bank(self.folder / "bank"), None
        for part, wanted in self.to_teacher.items():
            k = self.reference + self._own(part)
            if bank.inventory(wanted, k).missing.size:
                teacher = teacher or open_teacher()
                fill_bank(teacher, wanted, k, bank=bank, sampling=self.sampling, key=key)
        if teacher is not None:
            teacher.close()
        own = {"students": self.students, "k": self.per_student, "per_student": self.per_student}
        audit(bank, self.to_teacher[self.trained], **own)

    def fingerprint(self, *models: str) -> str:
        """Of models, and of all responses that students and measures are given."""
        drawn = self.seen(self.per_student), *(self.unseen(part) for part in self.to_teacher)
        parts = [*(model_revision(check_model(model)) for model in models), *(one.fingerprint for one in drawn)]
        return hashlib.blake2b("".join(parts).encode(), digest_size=16).hexdigest()

    def seen(self, k: int) -> Responses:
        """k responses of each student's own, to the questions it is trained on as it is asked them."""
        own = {"students": self.students, "k": k, "per_student": self.per_student}
        drawn = self._bank.responses(self.to_teacher[self.trained], **own)
        return Responses(self.to_students[self.trained], drawn.distinct, drawn.index)

    def unseen(self, part: str) -> Responses:
        """Responses that no student sees, (1, P, reference)."""
        k = self._own(part) + self.reference
        drawn = self._bank.responses(self.to_teacher[part], students=1, k=k, per_student=k)
        return Responses(self.to_students[part], drawn.distinct, drawn.index[:, :, self._own(part) :])

    def distil(
        self, method: str, k: int, *, student: Any, name: str, key: tuple[Any, ...], **training: Any
    ) -> list[Path]:
        """Folders of students trained on k responses of their own, weighed by a method; `training` is as for `distill`.

        A folder `name` keeps them: what is finished is not trained again.
        """
        keep = Keep(self.folder / "students" / name, {"inputs": name})
        how = {**training, "key": key, "keep": keep}
        targets = targets_of(self.seen(k), method, student=student, sampling=self.sampling, **how)
        return [keep.root / f"student-{s}" for s in distill(targets, student=student, **how).kept]

    def of_teacher(self) -> pd.DataFrame:
        """One row a question: the teacher's unseen responses, and what they cost itself, which is its entropy."""
        tables = []
        for part, wanted in self.to_teacher.items():
            rows = self._bank.table(wanted, k=self._own(part) + self.reference)
            logs = rows.loc[rows["response_index"] >= self._own(part), "token_logprobs"]
            nats, tokens = (logs.map(of).to_numpy().reshape(len(wanted), -1).mean(axis=1) for of in (sum, len))
            tables.append(answer_table(self.unseen(part)).assign(part=part, nats=-nats, tokens=tokens))
        return pd.concat(tables, ignore_index=True)

    def of_models(
        self, folders: Sequence[Any], *, name: str, answers: str, draws: int, costed: int, backend: str
    ) -> pd.DataFrame:
        """One row for each model and question: what it answers, and its loss on responses that no student saw.

        Parameters
        ----------
        folders : sequence of path or str
            Saved models.
        name, answers : str
            Names the models' draws; folder of the answers.
        draws, costed : int
            Answers to each question; unseen responses whose loss is computed.
        backend : str
            As for `open_teacher`.
        """
        parts = list(self.to_students.values())
        joined = ([own for part in parts for own in getattr(part, field)] for field in ("ids", "texts", "answers"))
        both = Prompts(*map(tuple, joined))
        named = [(f"{name}-{s}", folder) for s, folder in enumerate(folders)]
        root = f"{self.folder}/answers/{answers}"
        found = draw_students(named, both, draws, root=root, sampling=self.sampling, backend=backend)
        unseen = [self.unseen(part).first(costed) for part in self.to_students]
        given = [own.distinct[int(i)] for own in unseen for i in own.index.ravel()]
        responses = Responses.gather(both, given, (1, len(both), costed))
        loss = HeldOut.concatenate([loss_of_folder(folder, responses) for folder in folders])
        part = np.tile(np.repeat(list(self.to_students), [len(own) for own in parts]), len(folders))
        return answer_table(found).assign(part=part, nats=loss.students.ravel(), tokens=loss.tokens.ravel())


def name_of_cell(cell: Mapping[str, Any]) -> str:
    """Name of the folders of a method's cell."""
    digest = hashlib.blake2b(repr(sorted(cell.items())).encode(), digest_size=8).hexdigest()
    return f"{cell['method']}-{cell['k']}-{digest}"
