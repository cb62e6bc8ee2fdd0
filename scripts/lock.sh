#!/usr/bin/env bash
# Makes docker/requirements-{cpu,cuda}.lock: every package of the images, by version and hash. Run it after pyproject.toml has changed.
# `lock.sh sbom` writes what is in them as CycloneDX documents, build/sbom-{cpu,cuda}.json.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=build/lock-tools
[ -x $tools/bin/uv ] || { python3 -m venv $tools && $tools/bin/pip install --quiet uv==0.13.9 cyclonedx-bom==7.5.0; }

for pair in cpu:cpu cuda:gpu; do
    lock=docker/requirements-${pair%:*}.lock
    if [ "${1:-}" = sbom ]; then
        $tools/bin/cyclonedx-py requirements "$lock" --output-file "build/sbom-${pair%:*}.json"
        echo "sbom: build/sbom-${pair%:*}.json"
    else
        $tools/bin/uv pip compile --quiet --no-config --generate-hashes --no-header --no-emit-index-url --python-version 3.11 \
            --python-platform x86_64-manylinux_2_28 --extra server --extra "${pair#*:}" --output-file "$lock" pyproject.toml
        echo "lock: $lock"
    fi
done
