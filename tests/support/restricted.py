"""Runs a program as systemd does under RestrictAddressFamilies.

`restricted.py FAMILY,… PROGRAM …`. Sockets of other families can't be made, in the program and in
what it starts.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EAFNOSUPPORT
EQUAL = 4
LAST_FAMILY = 45


class _Compare(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def main() -> None:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ALLOW)))
    number = library.seccomp_syscall_resolve_name(b"socket")
    allowed = {int(getattr(socket, name)) for name in sys.argv[1].split(",")}
    for family in set(range(LAST_FAMILY + 1)) - allowed:
        compare = _Compare(0, EQUAL, family, 0)
        done = library.seccomp_rule_add_array(
            rules, ctypes.c_uint32(REFUSE), number, 1, ctypes.byref(compare)
        )
        assert done == 0, done
    assert library.seccomp_load(rules) == 0
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
