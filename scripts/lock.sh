#!/usr/bin/env bash
# Makes the lock files of the images, every package by version and hash. Run it after pyproject.toml has changed.
#   docker/requirements-{cpu,cuda}.lock   all but PyTorch, for either image
#   docker/torch-cuda.lock                PyTorch as the registry has it, a CUDA build, and the CUDA libraries it brings
#   docker/torch-cpu.lock                 PyTorch's own CPU build, a tenth of that; pip must find it here, on whatever index it is told of
# `lock.sh sbom` writes what is in them as CycloneDX documents, build/sbom-{cpu,cuda}.json.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=build/lock-tools
[ -x $tools/bin/uv ] || { python3 -m venv $tools && $tools/bin/pip install --quiet uv==0.13.9 cyclonedx-bom==7.5.0; }
torch=$(grep -o 'torch==[0-9.]*' pyproject.toml | head -n 1)

if [ "${1:-}" = sbom ]; then
    for variant in cpu cuda; do
        cat docker/requirements-$variant.lock docker/torch-$variant.lock >build/sbom-$variant.lock
        $tools/bin/cyclonedx-py requirements build/sbom-$variant.lock --output-file build/sbom-$variant.json
        echo "sbom: build/sbom-$variant.json"
    done
    exit
fi

for pair in cpu:cpu cuda:gpu; do
    # What was locked before stays as it is where it may.
    cat docker/requirements-${pair%:*}.lock docker/torch-cuda.lock 2>/dev/null >build/whole-${pair%:*}.lock || true
    $tools/bin/uv pip compile --quiet --no-config --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 \
        --python-platform x86_64-manylinux_2_28 --extra server --extra "${pair#*:}" --output-file build/whole-${pair%:*}.lock pyproject.toml
done

# An entry is a line that begins a package and the lines that go on from it.
entries() { # entries FILE torch|rest
    awk -v want="$2" '/^[a-z]/ { torch = ($1 ~ /^(torch|triton|nvidia-|cuda-)/) } { if (torch == (want == "torch")) print }' "$1"
}
for variant in cpu cuda; do entries build/whole-$variant.lock rest >docker/requirements-$variant.lock; done
entries build/whole-cuda.lock torch >docker/torch-cuda.lock

wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
if python3 -m pip download --quiet --no-deps --only-binary :all: --python-version 3.11 --platform manylinux_2_28_x86_64 --dest "$wheels" "$torch+cpu"; then
    hash=$(sha256sum "$wheels"/torch-*.whl | cut -d' ' -f1)
    printf '%s+cpu \\\n    --hash=sha256:%s\n' "$torch" "$hash" >docker/torch-cpu.lock
else
    echo "lock: pip finds no $torch+cpu here: docker/torch-cpu.lock stays as it was" >&2
fi
ls docker/*.lock
