"""One thread per numerical operator, everywhere: the actors are the parallelism, and results do not depend on cores.

Imports nothing numerical, since the libraries read these variables when they are loaded.
"""

from __future__ import annotations

import os

THREAD_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def one_thread() -> None:
    """Hold this process, and its children, to one thread per operator. To be called before numpy or torch is imported.

    A sum over two threads adds in another order than over one: the last bit of a fit would depend on the machine.
    """
    os.environ.update(THREAD_ENVIRONMENT)
