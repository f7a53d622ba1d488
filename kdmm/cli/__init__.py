"""The command line. It parses, prints and chooses the exit status; the work is done by `kdmm.run`.

Nothing heavy is imported before a command needs it: ``kdmm --help`` answers at once.
"""

from kdmm.cli.main import main

__all__ = ["main"]
