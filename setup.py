"""What pyproject.toml has no words for: the studies, and the files that they read, go into the wheel with the package.

They stay where they are in the project and lie under `uqkd/_bundled` in a wheel, where `uqkd.run.bundled` finds them.
"""

from setuptools import find_packages, setup

BUNDLED = ("studies", "studies/questions", "studies/ratings", "docs/llm_real")
FOLDERS = {f"uqkd._bundled.{folder.replace('/', '.')}": folder for folder in BUNDLED}

setup(
    packages=[*find_packages(include=["uqkd*"]), *FOLDERS],
    package_dir=FOLDERS,
    package_data={
        "uqkd.stacked.engines": ["*.cpp"],
        "uqkd.report.page": ["templates/*"],
        "uqkd.report.card": ["*.jinja"],
        "uqkd.report.standalone": ["*.jinja"],
        **{name: ["*.csv", "*.jsonl", "*.md"] for name in FOLDERS},
    },
)
