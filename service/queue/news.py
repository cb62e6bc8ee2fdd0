"""What the scripts tell whoever listens: which jobs have changed, and small jobs as they ended, whole."""

from collections.abc import Iterator

from service.queue.records import JobStatus, parse_job


def changed_jobs(message: bytes) -> Iterator[tuple[str, bool]]:
    """The jobs that a message names, and whether each has ended (common.lua, tell)."""
    for word in message.decode().split(" "):
        yield word.removesuffix("!"), word.endswith("!")


def ended_jobs(message: bytes) -> Iterator[JobStatus]:
    """The jobs that a message holds, each with its only chunk's parts (complete.lua, send_end)."""
    at = 0
    while at < len(message):
        (job_id,), at = _words(message, at)
        fields, at = _words(message, at)
        parts, at = _words(message, at)
        results = ({name.decode(): value for name, value in _pairs(parts)},)
        yield parse_job(job_id.decode(), dict(_pairs(fields)), 0.0, results)  # it has just ended: it has not expired


def _words(message: bytes, at: int) -> tuple[list[bytes], int]:
    """Words of any bytes, as `framed` in complete.lua writes them, and where the next ones begin."""
    start = message.index(b"\n", at) + 1
    words = []
    for length in message[at:start].split():
        words.append(message[start : start + int(length)])
        start += int(length)
    return words, start


def _pairs(flat: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)
