"""Forms: multipart/form-data bodies, parsed while they arrive, so that files are never held as a whole.

Parts that are named `file` or `audio`, or have a file name, are recordings; all others are fields. A form that is not
well-formed, does not end, or has too many or too large fields is a 400; a body of another type is a 415. File names are
text for answers, and nothing else: none of them ever reaches the file system or the log.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.errors import RequestError
from serving.http.bodies import Upload, receive_body
from serving.http.calls import Call

if TYPE_CHECKING:
    from serving.inference.admission import Ticket

FORM_TYPE = b"multipart/form-data"
RECORDING_FIELDS = ("file", "audio")
_MAX_FIELDS = 100
# Of all fields together: the thresholds of a thousand classes are half of it.
_MAX_FIELD_BYTES = 1 << 16


class FilePart(NamedTuple):
    """One recording of a form. name: its file name, `audio` without one; content_type: of the part."""

    name: str
    content_type: str | None
    upload: Upload


class Form(NamedTuple):
    """What a form holds, in its order."""

    fields: tuple[tuple[str, str], ...]
    files: tuple[FilePart, ...]


def is_form(call: Call) -> bool:
    """Whether the body of a call is a form."""
    return call.headers.get(b"content-type", b"")[: len(FORM_TYPE)].lower() == FORM_TYPE


async def read_form(call: Call, ticket: Ticket, max_files: int, opened: ExitStack) -> Form:
    """The form that is the body of a call; what its files hold is closed with `opened`."""
    if not is_form(call):
        raise RequestError(415, "form_expected", "send multipart/form-data with the recording as `file`")
    reader = _FormReader(max_files, opened)
    try:
        boundary = parse_options_header(call.header(b"content-type"))[1].get(b"boundary")
        if not boundary:
            raise _malformed("its Content-Type names no boundary")
        parser = MultipartParser(boundary, reader.callbacks())  # type: ignore[arg-type]
        await receive_body(call, parser.write, ticket)
        parser.finalize()
    except FormParserError as error:
        raise _malformed(" ".join(str(error).split())[:200]) from None
    if not reader.ended:
        raise _malformed("it ends before its last boundary")
    return Form(tuple(reader.fields), tuple(reader.files))


def only_file(form: Form) -> FilePart:
    """The recording of a form that holds one; RequestError 422 without any."""
    if not form.files:
        raise RequestError(422, "file_missing", "the form holds no recording; send it as `file`")
    return form.files[0]


def _malformed(detail: str) -> RequestError:
    return RequestError(400, "malformed_form", f"the form cannot be read: {detail}")


class _FormReader:
    """What the parser calls."""

    def __init__(self, max_files: int, opened: ExitStack) -> None:
        self.fields: list[tuple[str, str]] = []
        self.files: list[FilePart] = []
        self.ended = False
        self._num_field_bytes = 0
        self._max_files = max_files
        self._opened = opened
        self._begin_part()

    def callbacks(self) -> dict[str, object]:
        """By the parser's names."""
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": self._add_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._field_name = ""
        self._content = bytearray()
        self._upload: Upload | None = None

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"name" not in options:
            raise _malformed("a part has no name")
        self._field_name = _text(options[b"name"])
        if b"filename" in options or self._field_name in RECORDING_FIELDS:
            self._begin_file(_file_name(_text(options.get(b"filename", b""))))
        elif len(self.fields) >= _MAX_FIELDS:
            raise _malformed(f"it has more than {_MAX_FIELDS} fields")

    def _begin_file(self, name: str) -> None:
        if len(self.files) >= self._max_files:
            raise RequestError(
                422,
                "too_many_files",
                f"the form holds more than {self._max_files} recordings; "
                + ("POST /v1/batch takes several" if self._max_files == 1 else "send them in several requests"),
                limit=self._max_files,
            )
        self._upload = self._opened.enter_context(Upload())
        content_type = self._headers.get(b"content-type")
        self.files.append(FilePart(name, content_type.decode("latin-1") if content_type else None, self._upload))

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if self._upload is not None:
            self._upload.write(data[start:end])
            return
        self._num_field_bytes += end - start
        if self._num_field_bytes > _MAX_FIELD_BYTES:
            raise _malformed(f"its fields hold more than {_MAX_FIELD_BYTES} bytes")
        self._content += data[start:end]

    def _end_part(self) -> None:
        if self._upload is None:
            self.fields.append((self._field_name, _text(bytes(self._content))))

    def _end(self) -> None:
        self.ended = True


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _file_name(name: str) -> str:
    """The last part of a path, without what would break a table's row."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(char if char.isprintable() else " " for char in last).strip()[:255] or "audio"
