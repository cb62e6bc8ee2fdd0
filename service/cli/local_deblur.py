"""Deblurring in this process, through the steps of the service: read, deblur channel by channel, join.

Of the service it imports only what it runs: most of the seconds of a small picture are imports.
"""

from collections.abc import Mapping

import torch
from tqdm import tqdm

from service.deblurring.forms import Part
from service.deblurring.networks import Networks
from service.deblurring.prepare import spec_of
from service.deblurring.request import request_of_form
from service.deblurring.results import DeblurResult, joined, merged
from service.deblurring.work import Deblurring
from service.device import choose_device
from service.settings import load_settings


def deblur_locally(files: Mapping[str, bytes], fields: Mapping[str, str]) -> DeblurResult:
    """The parts of a POST /deblur's form. Raises ServiceError."""
    settings = load_settings()
    torch.set_num_threads(settings.threads)
    parts = {name: Part(name, name, content) for name, content in files.items()}
    parts |= {name: Part(name, None, value.encode()) for name, value in fields.items()}
    request = request_of_form(parts, settings)
    by = Deblurring(Networks(settings.checkpoints, choose_device(settings.device), settings.engine))
    spec = spec_of(request, by.networks)
    done = []
    with tqdm(total=100 * spec.channels, desc="deblurring", unit="%", delay=1) as bar:
        for i, channel in enumerate(request.picture.pixels):

            def show(n: int, of: int, before: int = 100 * i) -> None:
                bar.update(before + 100 * n // of - bar.n)

            done.append(by.restore(spec, request.kernel, channel, show))
            show(1, 1)
    solve_s, diagnose_s = sum(one.solve_s for one in done), sum(one.diagnose_s for one in done)
    item = joined([one.item for one in done])
    return DeblurResult(spec, merged([one.x for one in done]), item, by.device, done[0].engine, solve_s, diagnose_s)
