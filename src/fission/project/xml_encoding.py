"""Converts XML in any encoding that Python knows to UTF-8: the parser knows UTF-8, UTF-16 and
single-byte encodings.
"""

from __future__ import annotations

import codecs
import re

#: First bytes of a file -> its encoding; longer ones first, because UTF-32's mark begins with UTF-16's. XML 1.0, appendix F.
_BEGINNINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    ("<".encode("utf-32-be"), "utf-32-be"),
    ("<".encode("utf-32-le"), "utf-32-le"),
    ("<?".encode("utf-16-be"), "utf-16-be"),
    ("<?".encode("utf-16-le"), "utf-16-le"),
)
_DECLARED = re.compile(rb"""^\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([^"'>]*)["']""")
_DECLARATION = re.compile(r"""^(\s*<\?xml\b[^>]*?)(\s+encoding\s*=\s*["'][^"'>]*["'])""")


class UnreadableText(ValueError):
    """The text of a file cannot be decoded. The message is for the user.

    Attributes:
        line: line of the error, from 1.
    """

    def __init__(self, text: str, line: int = 1) -> None:
        super().__init__(text)
        self.line = line


def as_utf8(data: bytes) -> bytes:
    """Return an XML document as UTF-8, without the declaration of another encoding.

    Line numbers stay.

    Args:
        data: the file; its encoding is that of its byte-order mark, or else the declared one, or
            else UTF-8.

    Raises:
        UnreadableText: the declared encoding is unknown, or the bytes are invalid in it.
    """
    encoding = next((name for beginning, name in _BEGINNINGS if data.startswith(beginning)), None)
    if encoding is None:
        declared = _DECLARED.match(data)
        encoding = "utf-8" if declared is None else declared[1].decode("ascii", "replace")
    try:
        "".encode(encoding)  # refuses codecs that do not convert text to bytes, such as rot13
        text = data.decode(encoding)
    except (LookupError, TypeError, ValueError) as why:
        if isinstance(why, UnicodeError):
            line = data[: getattr(why, "start", 0)].count(b"\n") + 1
            raise UnreadableText(f"is not text in the encoding {encoding!r} ({why}); save it as UTF-8", line) from None
        raise UnreadableText(f"the encoding must be one that Python knows, but is {encoding!r}; save the file as UTF-8") from None
    return _DECLARATION.sub(r"\1", text, count=1).encode("utf-8", "surrogatepass")
