"""Pages of memory that a forked process does not inherit.

A fork copies what a process has written, but not the mapping of pages that it has only read, such as the code of shared
libraries; a copy counts them when it reads them again. A process that has imported the same libraries by itself counts
them from the start. So that memory means the same for both, a copy reads these pages once.
"""

import ctypes
import os
from array import array
from pathlib import Path

_BLOCK = 1 << 16  # bytes around a page that the kernel maps with it (fault_around_bytes)
_PRESENT = 1 << 63

_addresses: list[int] = []


def remember() -> None:
    """Note the pages of programs and libraries that this process has mapped, one for each block. Linux only."""
    page = os.sysconf("SC_PAGE_SIZE")
    mappings = [line.split()[:5] for line in Path("/proc/self/maps").read_text().splitlines()]
    programs = {inode for _, mode, _, _, inode in mappings if "x" in mode} - {"0"}  # other files may be gone later
    _addresses.clear()
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for span, mode, _, _, inode in mappings:
            if inode not in programs or not mode.startswith("r"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            pagemap.seek(start // page * 8)
            entries = array("Q", pagemap.read((end - start) // page * 8))
            present = (start + i * page for i, entry in enumerate(entries) if entry & _PRESENT)
            _addresses.extend({address // _BLOCK: address for address in present}.values())


def read_again() -> None:
    """Read the pages that the process which forked this one has remembered."""
    for address in _addresses:
        ctypes.c_char.from_address(address).value  # noqa: B018 - reading is what it is for
