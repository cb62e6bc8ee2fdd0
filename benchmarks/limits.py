"""``python -m benchmarks.limits REPORT.json``: what a kept ``bench trust`` measured goes into the manifests.

Model cards then show, under ``limits``, the false alarms, the coverage, and the AUROC of every score and shift.
"""

import json
import sys
from pathlib import Path

from models.checkpoint import write_manifest
from models.registry import Registry


def keep(report: Path, registry: Registry) -> list[str]:
    """Writes the rows of each model into its newest manifest; returns the models' names."""
    limits: dict[str, dict[str, dict[str, float]]] = {}
    for row in json.loads(report.read_text())["rows"]:
        limits.setdefault(row["model"], {})[row["family"]] = {"items": row["items"], **row["measured"]}
    for name, measured in limits.items():
        manifest = registry.manifest(name)
        complete = type(manifest).model_validate({**manifest.model_dump(mode="json"), "limits": measured})
        write_manifest(registry.directory(name, manifest.version), complete)
    return sorted(limits)


if __name__ == "__main__":
    sys.stdout.write("\n".join(keep(Path(sys.argv[1]), Registry(Path("checkpoints")))) + "\n")
