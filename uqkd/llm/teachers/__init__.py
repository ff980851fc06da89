"""Teachers: three engines behind one protocol. Each request has a seed of its own; nothing is left to an engine's default."""

from uqkd.llm.teachers.teacher import Completion, Request, Teacher, TeacherInfo, open_teacher

__all__ = ["Completion", "Request", "Teacher", "TeacherInfo", "open_teacher"]
