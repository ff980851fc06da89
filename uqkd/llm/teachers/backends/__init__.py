"""One file a backend: a function `open_backend(name_or_path, *, dtype, device, chat, ...)` that returns a `Teacher`."""
