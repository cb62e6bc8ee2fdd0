"""multipart/form-data, read from a body that is already there and within its limit."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from service.errors import MalformedBody

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 32
MULTIPART = "multipart/form-data"


@dataclass(frozen=True)
class Part:
    """One field of a form; a file has a filename."""

    name: str
    filename: str | None
    content: bytes

    @property
    def text(self) -> str:
        """The content of a plain field."""
        return self.content.decode("utf-8", "replace").strip()


def parse_form(body: bytes, content_type: str) -> dict[str, Part]:
    """The parts by name; raises MalformedBody where it is no form, cut short, or names a field twice."""
    options = parse_options_header(content_type)[1]
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise MalformedBody("the form's Content-Type has no boundary; let the HTTP client set it")
    reader = _Reader()
    parser = MultipartParser(boundary, reader.callbacks())
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise MalformedBody(f"the form cannot be read: {error}") from None
    if not reader.ended:
        raise MalformedBody("the form ends before its last boundary")
    return reader.parts


class _Reader:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.parts: dict[str, Part] = {}
        self.ended = False
        self._headers: dict[str, str] = {}
        self._field, self._value, self._content = b"", b"", bytearray()

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise MalformedBody(f"the form has more than {MAX_PARTS} parts")
        self._headers, self._content = {}, bytearray()

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._field = self._value = b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _end(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        name = options.get(b"name", b"").decode("utf-8", "replace")[:100]
        if not name:
            raise MalformedBody("a part of the form has no name")
        if name in self.parts:
            raise MalformedBody(f"the form has the field {name!r} twice")
        filename = options.get(b"filename")
        text = None if filename is None else filename.decode("utf-8", "replace")
        self.parts[name] = Part(name, text, bytes(self._content))

    def _finish(self) -> None:
        self.ended = True
