"""Compile a C++ file into a library for this machine, once, and keep it in a cache folder."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

# No option that lets the compiler assume that NaN does not occur: a diverged student must be seen.
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-std=c++17", "-shared", "-fPIC")


def compiler() -> str | None:
    """The C++ compiler to use: $CXX, else c++, g++ or clang++; None where there is none."""
    wanted = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((found for name in wanted if name and (found := shutil.which(name))), None)


def build(source: Path, definitions: Sequence[str] = ()) -> ctypes.CDLL | None:
    """The library compiled from a file with these -D definitions; None where no compiler can make it.

    It is kept in `$UQKD_CACHE`, `$XDG_CACHE_HOME` or `~/.cache`, under a name that changes with the file, the definitions,
    the compiler and the machine; where that folder cannot be written to, in a temporary one. A damaged one is made anew.
    """
    command = compiler()
    if command is None:
        return None
    flags = [*FLAGS, *_wide(command), *(f"-D{definition}" for definition in definitions)]
    inputs = repr((source.read_bytes(), flags, command, _machine()))
    name = f"{source.stem}-{hashlib.blake2b(inputs.encode(), digest_size=12).hexdigest()}.so"
    file = _folder() / name
    for attempt in range(2):
        if not file.is_file() and not _compile([command, *flags, str(source)], file):
            return None
        try:
            return ctypes.CDLL(str(file))
        except OSError:
            file.unlink(missing_ok=True)
            if attempt:
                raise
    return None


def _compile(command: list[str], file: Path) -> bool:
    handle, partial = tempfile.mkstemp(dir=file.parent, suffix=".so")
    os.close(handle)
    done = subprocess.run([*command, "-o", partial], capture_output=True)
    if done.returncode:
        Path(partial).unlink()
        return False
    os.replace(partial, file)  # another process may have been first: the same contents
    return True


def _folder() -> Path:
    base = os.environ.get("UQKD_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "uqkd"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass  # a read-only home: compiled for this process alone
    return _own_folder()


@lru_cache(maxsize=1)
def _own_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="uqkd-"))


@lru_cache(maxsize=1)
def _machine() -> str:
    """What -march=native depends on: a cache folder may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return sysconfig.get_platform() + next((line for line in lines if line.startswith(("flags", "Features"))), "")


def vector_bytes() -> int:
    """Of this machine's vector registers: 64 with AVX-512, 32 with AVX, else 16."""
    features = _machine().split()
    return 64 if "avx512f" in features else 32 if "avx" in features else 16


def _wide(command: str) -> list[str]:
    """GCC prefers half vectors where whole ones once slowed the clock down."""
    return ["-mprefer-vector-width=512"] if "g++" in Path(command).resolve().name and vector_bytes() == 64 else []
