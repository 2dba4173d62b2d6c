"""The archive of an evidence pack: a zip file in which nothing is left to choice.

Whoever packs the same files gets the same bytes, and a reader accepts exactly those. So an archive has one reading:
there is no second directory to contradict the first, no field that two programs understand differently, nothing
compressed that could grow, and no byte that may change without notice. Any zip program opens it.

Must never: write to disk, inflate, or take a name that could lead out of a folder.

Implements: R-89 (archive); PKWARE APPNOTE 6.3 §4.3 (stored members, no extra fields, no comments, no zip64).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Final
from zlib import crc32

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import malformed

MAX_ARCHIVE_BYTES: Final = 64 << 20
MAX_FILES: Final = 65_535
MAX_NAME_BYTES: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_VERSION: Final = 10
_EPOCH: Final = 0x0021
"""1 January 1980, the first day that an archive can name: when something was packed is nobody's evidence."""
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """The archive of these files, in the order of their names. Raises TOO_LARGE, MALFORMED (`archive-name`)."""
    if len(files) > MAX_FILES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_FILES)
    body, directory = bytearray(), bytearray()
    for name in sorted(files):
        content, raw_name = files[name], _encode_name(name)
        described = (_VERSION, 0, 0, 0, _EPOCH, crc32(content), len(content), len(content), len(raw_name), 0)
        directory += _CENTRAL.pack(b"PK\1\2", _VERSION, *described, 0, 0, 0, 0, len(body)) + raw_name
        body += _LOCAL.pack(b"PK\3\4", *described) + raw_name + content
        if len(body) + len(directory) + _END.size > MAX_ARCHIVE_BYTES:
            raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_ARCHIVE_BYTES)
    end = _END.pack(b"PK\5\6", 0, 0, len(files), len(files), len(directory), len(body), 0)
    return bytes(body + directory + end)


def read_archive(raw: bytes) -> dict[str, bytes]:
    """The files of an archive that `write_archive` made, byte for byte.

    Raises TOO_LARGE (`limit`), MALFORMED with `reason` `archive` (cut short, compressed, or otherwise another zip),
    `archive-name` or `duplicate-member`.
    """
    if len(raw) > MAX_ARCHIVE_BYTES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_ARCHIVE_BYTES)
    files: dict[str, bytes] = {}
    at = 0
    while raw.startswith(b"PK\3\4", at):
        if len(files) == MAX_FILES:
            raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_FILES)
        if len(raw) < at + _LOCAL.size:
            raise malformed("archive")
        *_, size, name_length, _ = _LOCAL.unpack_from(raw, at)
        begins = at + _LOCAL.size + name_length
        at = begins + size
        if at > len(raw):
            raise malformed("archive")
        name = raw[begins - name_length : begins].decode("latin-1")
        if name in files:
            raise malformed("duplicate-member")
        _encode_name(name)
        files[name] = raw[begins:at]
    # One comparison says of every other field that it is what it must be.
    if not files or write_archive(files) != raw:
        raise malformed("archive")
    return files


def _encode_name(name: str) -> bytes:
    if len(name) > MAX_NAME_BYTES or _NAME.fullmatch(name) is None:
        raise malformed("archive-name")
    return name.encode("ascii")
