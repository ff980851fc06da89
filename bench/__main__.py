"""Print the bench's table, part by part as they are measured; `python -m bench linear` for one part."""

import sys

from bench import (
    classify,
    distilling,
    foundation,
    linear,
    llm,
    llm_adapters,
    llm_answering,
    llm_real,
    llm_training,
    llm_ways,
    mlp,
    projection,
    weighing,
)
from bench.measuring import show

PARTS = {
    "foundation": foundation.rows,
    "linear": linear.rows,
    "mlp": mlp.rows,
    "llm": llm.rows,
    "llm_real": llm_real.rows,
    "llm_training": llm_training.rows,
    "llm_ways": llm_ways.rows,
    "llm_adapters": llm_adapters.rows,
    "llm_answering": llm_answering.rows,
    "classify": classify.rows,
    "projection": projection.rows,
    "weighing": weighing.rows,
    "distilling": distilling.rows,
}

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PARTS)
    for name in wanted:
        show(PARTS[name](), name)
