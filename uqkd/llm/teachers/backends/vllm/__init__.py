"""vLLM in this process or beside it. `library.py` is the only file that imports vllm."""

from uqkd.llm.teachers.backends.vllm.opening import open_backend, open_together
from uqkd.llm.teachers.backends.vllm.teacher import VllmTeacher

__all__ = ["VllmTeacher", "open_backend", "open_together"]
