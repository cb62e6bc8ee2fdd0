#!/usr/bin/env bash
# Makes .venv/ with everything in it; done before, it takes no time. Run it again after pyproject.toml has changed:
# make does. DECEPTRON_EXTRA=cpu|gpu overrules what it finds out about the machine.
set -euo pipefail
cd "$(dirname "$0")/.."

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "setup: Python 3.11 or newer is needed, and none was found on PATH." >&2
    echo "setup: install one (Debian, Ubuntu: apt-get install python3 python3-venv) and run make again." >&2
    return 1
}

has_nvidia_driver() { nvidia-smi -L >/dev/null 2>&1 || [ -e /proc/driver/nvidia/version ]; }

if [ -z "${DECEPTRON_EXTRA:-}" ]; then
    if has_nvidia_driver; then DECEPTRON_EXTRA=gpu; else DECEPTRON_EXTRA=cpu; fi
fi

stamp=.venv/.installed
wanted="$DECEPTRON_EXTRA $(cksum <pyproject.toml)"
if [ -x .venv/bin/deceptron ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

if ! is_new_enough .venv/bin/python; then
    python=$(find_python)
    echo "setup: 1/3 making .venv with $python ($("$python" --version))"
    if ! "$python" -m venv --clear .venv; then
        echo "setup: $python cannot make environments (Debian, Ubuntu: apt-get install python3-venv)." >&2
        exit 1
    fi
fi

pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

# Torch first and by its exact version: a range would fetch another, several gigabytes large, on some machines.
torch=$(grep -o 'torch==[0-9.]*' pyproject.toml | head -n 1)
echo "setup: 2/3 installing $torch"
pip install "$torch"

# The two builds of onnxruntime own the same module: never both.
if [ "$DECEPTRON_EXTRA" = gpu ]; then pip uninstall --yes --quiet onnxruntime; else pip uninstall --yes --quiet onnxruntime-gpu; fi
echo "setup: 3/3 installing deceptron-service[server,train,bench,dev,$DECEPTRON_EXTRA]"
pip install --editable ".[server,train,bench,dev,$DECEPTRON_EXTRA]"

echo "$wanted" >"$stamp"
echo "setup: done"
