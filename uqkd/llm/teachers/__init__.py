"""Teachers behind one protocol. Each request has a seed of its own; nothing is left to an engine's default."""

from uqkd.llm.requests import Completion, Refusal, Request, TeacherInfo
from uqkd.llm.teachers.opening import backend_names, open_students, open_teacher
from uqkd.llm.teachers.teacher import Teacher, complete

__all__ = [
    "Completion",
    "Refusal",
    "Request",
    "Teacher",
    "TeacherInfo",
    "backend_names",
    "complete",
    "open_students",
    "open_teacher",
]
