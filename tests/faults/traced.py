"""Measure one cell of a study, and print every function of uqkd that ran while it did: file, first line, name.

python traced.py STUDY_FILE OVERRIDES_AS_JSON
"""

import json
import sys
import threading
from pathlib import Path

import uqkd
from uqkd.run import load_study

PACKAGE = str(Path(uqkd.__file__).parent)
IN_A_FUNCTION = 0x1  # CO_OPTIMIZED: neither a module's top level nor the body of a class

seen = {}


def watch(frame, event, _argument):
    code = frame.f_code
    if event != "call" or code in seen or not code.co_filename.startswith(PACKAGE) or not code.co_flags & IN_A_FUNCTION:
        return
    caller = frame.f_back
    # A comprehension of a module's top level runs because the module is loaded, not because it is used.
    if not (code.co_name.startswith("<") and caller and not caller.f_code.co_flags & IN_A_FUNCTION):
        seen[code] = (code.co_filename, code.co_firstlineno, code.co_qualname)


study = load_study(sys.argv[1])
cell = study.module.cells(study.options("quick", json.loads(sys.argv[2])))[-1]
cell = json.loads(json.dumps(cell))
threading.setprofile(watch)
sys.setprofile(watch)
try:
    study.module.measure(cell)
finally:
    sys.setprofile(None)
    threading.setprofile(None)
print(json.dumps(sorted(seen.values())))
