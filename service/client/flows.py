"""What both clients do, written once: generators that yield what they need done (a call, a pause) and get its outcome.

The sync client does the yielded things itself, the async one awaits them; neither knows anything of the protocol.
"""

import os
import random
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from service.arrays import decode_npy, encode_object
from service.client.pictures import NPY, Deblurred, read_answer
from service.client.types import (
    ClientError,
    Comparison,
    Job,
    JobFailed,
    Problem,
    Result,
    Retries,
    Unreachable,
    WaitTimeout,
    read_job,
    read_result,
)

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
JSON = "application/json"
POLL_WAIT_S = 5.0  # the server holds each poll back this long, so that the progress bar still moves
KEY_VARIABLE = "DECEPTRON_API_KEY"
AGAIN = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Call:
    """Do this request; the outcome is a response or the transport's exception."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    fields: Mapping[str, str] | None = None
    files: Mapping[str, bytes] | None = None
    timeout_s: float = 30.0


@dataclass(frozen=True)
class Pause:
    """Do nothing for so long."""

    seconds: float


@dataclass(frozen=True)
class Now:
    """Tell the monotonic time."""


Step = Call | Pause | Now
Flow = Generator[Step, Any, T]


@dataclass(frozen=True)
class Options:
    """The options of a request; None is the model's own preset, and the preset's own value."""

    preset: str | None = None
    max_iterations: int | None = None
    relaxation: float | None = None
    tolerance: float | None = None
    history: bool = False
    uncertainty: bool | None = None

    def document(self) -> dict[str, Any]:
        """What goes into a request's body: the options, and beside them whether error bars are wanted."""
        options = {name: value for name, value in vars(self).items() if value is not None}
        beside = {"uncertainty": options.pop("uncertainty")} if "uncertainty" in options else {}
        return {"options": options, **beside}


def request(call: Call, retries: Retries) -> "Flow[httpx.Response]":
    """A successful response; repeats after 429, 503 and broken connections. Raises Problem, Unreachable."""
    for attempt in range(retries.attempts):
        outcome = yield call
        last = attempt + 1 == retries.attempts
        if not isinstance(outcome, Exception) and (last or outcome.status_code not in AGAIN):
            return _checked(outcome)
        if not last:
            yield Pause(_delay_s(outcome, attempt, retries))
    raise Unreachable(f"no answer from the service ({type(outcome).__name__}: {outcome})") from outcome


def _delay_s(outcome: "httpx.Response | Exception", attempt: int, retries: Retries) -> float:
    """Retry-After where given, else exponential; with jitter, so that many clients do not come back at once."""
    backoff_s = min(retries.longest_delay_s, retries.first_delay_s * 2**attempt)
    asked: str = "" if isinstance(outcome, Exception) else outcome.headers.get("retry-after", "")
    if asked.isdigit():
        return float(asked) + random.uniform(0, 0.25 * (1 + backoff_s))
    return float(backoff_s * random.uniform(0.5, 1.0))


def _checked(response: "httpx.Response") -> "httpx.Response":
    if response.is_success:
        return response
    try:
        document = response.json()
    except ValueError:
        document = {"title": response.reason_phrase, "detail": response.text[:200]}
    raise Problem(document if isinstance(document, dict) else {}, response.status_code)


@dataclass(frozen=True)
class Asked:
    """What a request asks, beside its observations: of which model, how solved, within what."""

    model: str
    version: int | None
    options: Options | None
    constraint: Mapping[str, Any] | None

    def document(self) -> dict[str, Any]:
        """What goes into a request's body."""
        given = {"version": self.version, "constraint": _plain(self.constraint)}
        beside = {name: value for name, value in given.items() if value is not None}
        return {"model": self.model, **(self.options or Options()).document(), **beside}


def submit(kind: str, observations: Any, asked: Asked, methods: Mapping[str, Any], retries: Retries) -> Flow[Job]:
    """Queue a job. The body is JSON around base64 arrays: small, and with room for any constraint."""
    array = np.asarray(observations)
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise ClientError(f"observations must be numbers, not {array.dtype}")
    array = array.astype(np.float64) if array.dtype == np.float16 else array
    body = {**asked.document(), **methods, "observations": encode_object(array)}
    response = yield from request(Call("POST", f"/{kind}", headers=_once(), json=body, timeout_s=120), retries)
    return read_job(response.json())


def submit_picture(files: Mapping[str, bytes], fields: Mapping[str, str], retries: Retries) -> Flow[Job]:
    """Queue a deblurring, as a form."""
    call = Call("POST", "/deblur", headers=_once(), fields=fields, files=files, timeout_s=120)
    response = yield from request(call, retries)
    return read_job(response.json())


def picture(job_id: str, media: str, retries: Retries) -> Flow[bytes]:
    """The picture of a finished deblurring, as npy or PNG."""
    call = Call("GET", f"/jobs/{job_id}/result", headers={"Accept": media}, timeout_s=300)
    response = yield from request(call, retries)
    return response.content


def _once() -> dict[str, str]:
    """One key for all attempts: a repeated POST is the same job."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def _plain(value: Any) -> Any:
    """Arrays inside a constraint as lists."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def job(job_id: str, wait_s: float, retries: Retries) -> Flow[Job]:
    """The job now, or when it finishes within `wait_s`."""
    query = {"wait": f"{wait_s:g}"} if wait_s > 0 else {}
    response = yield from request(Call("GET", f"/jobs/{job_id}", query, timeout_s=30 + wait_s), retries)
    return read_job(response.json())


def wait(job_id: str, timeout_s: float | None, seen: Callable[[Job], None], retries: Retries) -> Flow[Job]:
    """The finished job; `seen` is told of every look. Raises WaitTimeout."""
    deadline = None if timeout_s is None else (yield Now()) + timeout_s
    hold_s = 0.2  # short jobs first: the bar of a long one then moves every POLL_WAIT_S at least
    while True:
        left_s = hold_s if deadline is None else min(hold_s, deadline - (yield Now()))
        found = yield from job(job_id, max(left_s, 0.0), retries)
        seen(found)
        if found.finished:
            return found
        if left_s <= 0:
            raise WaitTimeout(f"job {job_id} is {found.status} after {timeout_s:g} s ({found.done} of {found.total})")
        hold_s = min(POLL_WAIT_S if found.done == 0 else 1.0, 2 * hold_s)


def result_document(found: Job, retries: Retries) -> Flow[Mapping[str, Any]]:
    """The result document of a finished job. Raises JobFailed when it has none."""
    if found.status in ("canceled", "expired"):
        raise JobFailed(f"job {found.id} is {found.status} and has no result")
    if found.result is not None:
        return found.result
    call = Call("GET", f"/jobs/{found.id}/result", headers={"Accept": JSON}, timeout_s=300)
    response = yield from request(call, retries)
    document: Mapping[str, Any] = response.json()
    return document


def inversion(found: Job, retries: Retries) -> Flow[Result]:
    """The result of a finished inversion. Raises JobFailed."""
    result = read_result((yield from result_document(found, retries)))
    if not isinstance(result, Result):
        raise TypeError("the service answered an inversion with a comparison")
    return result


def comparison(found: Job, retries: Retries) -> Flow[Comparison]:
    """The result of a finished comparison. Raises JobFailed."""
    result = read_result((yield from result_document(found, retries)))
    if not isinstance(result, Comparison):
        raise TypeError("the service answered a comparison with an inversion")
    return result


def deblurring(found: Job, retries: Retries) -> Flow[Deblurred]:
    """The picture of a finished deblurring, and what the service says of it. Raises JobFailed."""
    answer = read_answer((yield from result_document(found, retries)))
    content = yield from picture(found.id, NPY, retries)
    return Deblurred(decode_npy(content), found, answer)


def next_finished(pending: Sequence[Job], retries: Retries) -> Flow[Job]:
    """The first of several jobs to finish."""
    pause_s = 0.02
    while True:
        for entry in pending:
            found = entry if entry.finished else (yield from job(entry.id, 0, retries))
            if found.finished:
                return found
        yield Pause(pause_s)
        pause_s = min(1.0, 1.5 * pause_s)


def cards(retries: Retries) -> Flow[list[dict[str, Any]]]:
    """The model cards."""
    response = yield from request(Call("GET", "/models"), retries)
    found: list[dict[str, Any]] = response.json()["models"]
    return found


def card(name: str, version: int | None, retries: Retries) -> Flow[dict[str, Any]]:
    """One model's card."""
    query = {} if version is None else {"version": str(version)}
    return (yield from _document(Call("GET", f"/models/{name}", query), retries))


def examples(name: str, retries: Retries) -> Flow[dict[str, Any]]:
    """A model's held-out observations."""
    return (yield from _document(Call("GET", f"/models/{name}/examples"), retries))


def _document(call: Call, retries: Retries) -> Flow[dict[str, Any]]:
    response = yield from request(call, retries)
    found: dict[str, Any] = response.json()
    return found


def delete(job_id: str, purge: bool, retries: Retries) -> Flow[Job | None]:
    """The canceled job; None when purged."""
    query = {"purge": "true"} if purge else {}
    response = yield from request(Call("DELETE", f"/jobs/{job_id}", query), retries)
    return None if response.status_code == 204 else read_job(response.json())


def base_url(url: str) -> str:
    """The address as httpx wants it: people leave out http://."""
    return url if "://" in url else f"http://{url}"


def key_header(key: str | None) -> dict[str, str]:
    """The header that carries an API key; none where there is no key, also not in DECEPTRON_API_KEY."""
    found = key if key is not None else os.environ.get(KEY_VARIABLE, "")
    if not found.isascii() or not found.isprintable():
        raise ClientError("the API key holds characters that no key has")
    return {"Authorization": f"Bearer {found}"} if found else {}


def build(http: "httpx.Client | httpx.AsyncClient", call: Call) -> "httpx.Request":
    """The call as an httpx request."""
    return http.build_request(
        call.method,
        call.path,
        params=dict(call.query),
        headers=dict(call.headers),
        json=call.json,
        data=call.fields,
        files=None if call.files is None else {name: (name, content) for name, content in call.files.items()},
        timeout=call.timeout_s,
    )
