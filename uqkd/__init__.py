"""What knowledge distillation does to uncertainty, measured honestly and repaired.

Importing `uqkd` loads nothing heavy. Take what you need by room: `uqkd.estimators`,
`uqkd.linear`, `uqkd.seeds`, `uqkd.store`, `uqkd.run`.
"""

__version__ = "0.1.0"
