"""The error that is nobody's clip: every further one would end the same way."""

from __future__ import annotations


class SetupError(RuntimeError):
    """A weight file, a device or a node is not as the run needs it. Ends the run with its message, in one line."""
