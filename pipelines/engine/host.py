"""Which machine this is and which of its processes live: what tells a writer's rests from its work."""

from __future__ import annotations

import re
import socket

import psutil


def this_host() -> str:
    """This machine's name, of letters, digits, `-` and `_` only."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname()) or "host"


def alive(pid: int) -> bool:
    """Whether a process of this machine exists and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
