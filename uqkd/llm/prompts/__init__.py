"""What a teacher is asked: prompts, and the files that people have them in."""

from uqkd.llm.prompts.prompts import Prompts, Turn, Turns, chat_json, messages, turns_of
from uqkd.llm.prompts.reading import prompt_id, read_prompts

__all__ = ["Prompts", "Turn", "Turns", "chat_json", "messages", "prompt_id", "read_prompts", "turns_of"]
