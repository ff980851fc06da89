"""`python -m uqkd` is the command `uqkd`."""

from uqkd.cli import main

if __name__ == "__main__":  # worker processes import this module under another name
    main()
