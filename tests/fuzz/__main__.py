"""python -m tests.fuzz"""

import argparse
import sys
from pathlib import Path

from tests.fuzz.campaign import OUT, main

parser = argparse.ArgumentParser(description="Fuzz a live service and the readers of bodies; write a report.")
parser.add_argument("--cases", type=int, default=11_000, help="requests made from the OpenAPI document, about")
parser.add_argument("--bodies", type=int, default=110_000, help="broken bodies, a fifth of them over HTTP")
parser.add_argument("--guided", type=int, default=20, help="seconds for each reader under atheris, where installed")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--out", type=Path, default=OUT)
given = parser.parse_args()
sys.exit(main(given.cases, given.bodies, given.guided, given.seed, given.out, f"make fuzz ARGS='--seed {given.seed}'"))
