"""The subcommands of `vividpose`, one a file.

`add(commands)` declares it, `run(options)` does it and returns the exit code.

Heavy imports belong inside `run`, so that `--help` is instant.
"""

from __future__ import annotations

import argparse

Commands = argparse._SubParsersAction
