"""Files that survive a crash, a power cut and a full disk: atomic writes, synced appends,
checksums.

Internal: may change without notice.

Every file of ours that a later process must be able to read is written by this package.
`write_whole` replaces a file atomically, `Appender` appends to one, `frame` and `records` are a
binary format with version, length and checksums, `seal` and `unseal` a format with one JSON object
per line. Each operation on the file system calls `interpose`d hooks, with which tests make the n-th
one fail.
"""

from .files import (
    UNFINISHED,
    Appender,
    DamagedFileError,
    WholeFile,
    interpose,
    link,
    make_folder,
    move,
    open_file,
    read_whole,
    remove_unfinished,
    rename,
    sync,
    sync_data,
    sync_file,
    sync_folder,
    sync_tree,
    unlink,
    write_all,
    write_whole,
)
from .log_file import LogFile
from .records import (
    RECORD_OVERHEAD_BYTES,
    RECORD_VERSION,
    frame,
    header_of_record,
    read_json,
    read_record,
    record_pieces,
    records,
    seal,
    sealed_lines,
    unseal,
    whole_record,
    write_json,
    write_record,
)
from .snapshot_files import (
    PAGE_BYTES,
    Label,
    Number,
    file_bytes,
    overwrite,
    read_label,
    read_snapshot,
    snapshot_content,
    snapshot_pieces,
)

__all__ = (
    "PAGE_BYTES",
    "RECORD_OVERHEAD_BYTES",
    "RECORD_VERSION",
    "UNFINISHED",
    "Appender",
    "DamagedFileError",
    "Label",
    "LogFile",
    "Number",
    "WholeFile",
    "file_bytes",
    "frame",
    "header_of_record",
    "interpose",
    "link",
    "make_folder",
    "move",
    "open_file",
    "overwrite",
    "read_json",
    "read_label",
    "read_record",
    "read_snapshot",
    "read_whole",
    "record_pieces",
    "records",
    "remove_unfinished",
    "rename",
    "seal",
    "sealed_lines",
    "snapshot_content",
    "snapshot_pieces",
    "sync",
    "sync_data",
    "sync_file",
    "sync_folder",
    "sync_tree",
    "unlink",
    "unseal",
    "whole_record",
    "write_all",
    "write_json",
    "write_record",
    "write_whole",
)
