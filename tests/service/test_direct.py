"""Routes that are called without FastAPI's own preparations."""

import pytest
from fastapi import APIRouter, Request, Response

from service.inference import SolveSpec
from service.routes.direct import DirectRoute
from service.solve_spec import SHORT, _spec, _text
from service.state import Shared


async def endpoint(request: Request, services: Shared) -> Response:
    return Response()


def test_a_direct_route_has_nothing_to_look_up_in_its_path() -> None:
    router = APIRouter(route_class=DirectRoute)
    router.post("/things")(endpoint)
    with pytest.raises(TypeError, match="parameters"):
        router.post("/things/{job_id}")(endpoint)


@pytest.mark.parametrize("constraint", [None, '{"box":{"lower":0}}', '{"box":{"lower":' + "0" * SHORT + "}}"])
def test_specs_come_back_as_they_were_and_only_short_ones_are_kept(constraint: str | None) -> None:
    spec = SolveSpec("heat1d", 1, ("auto", "lm"), tolerance=0.5, constraint=constraint)
    kept = [cache.cache_info().currsize for cache in (_text, _spec)]
    assert [SolveSpec.from_json(spec.to_json()) for _ in range(2)] == [spec] * 2
    grown = [cache.cache_info().currsize - before for cache, before in zip((_text, _spec), kept, strict=True)]
    assert (grown == [0, 0]) is (len(constraint or "") >= SHORT)
