#!/bin/sh
# Checks what pip cannot install, and names the Debian packages for it in one line.
# check-system.sh [PYTHON] [test]: with "test" also what the tests need to compare with pyrender.
python=${1:-python3}
missing=""
command -v "$python" >/dev/null 2>&1 || missing="$missing python3"
if [ -z "$missing" ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "error: $python is older than Python 3.11; give another with PYTHON=..." >&2
        exit 1
    }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
fi
if [ "${2:-}" = test ]; then
    for pair in libEGL.so.1:libegl1 libGL.so.1:libgl1; do
        PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -q "${pair%%:*}" || missing="$missing ${pair##*:}"
    done
    command -v chromium >/dev/null 2>&1 || echo "note: without chromium (apt-get install chromium) the tests of pages are skipped" >&2
    ls /usr/lib/*/dri/swrast_dri.so >/dev/null 2>&1 || missing="$missing libgl1-mesa-dri"
fi
if [ -n "$missing" ]; then
    echo "error: Debian packages are missing; run: apt-get install$missing" >&2
    exit 1
fi
