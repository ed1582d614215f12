#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guest tests: real Xen, Dragoman as Dom0, unmodified Linux guests, under QEMU.

Each test boots a machine (machine.py) in a directory of its own, build/test/guest/NAME. The modules
imported below have the tests. Prints TAP. Arguments select the tests whose names contain one of them;
--list only names them.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import main  # noqa: E402
from machine import OUT  # noqa: E402
import boot, modes, frontends, attacks, devices, boards, partitions, guests, restarts, neighbours, stalls, network, disks, errors, pauses, slots, interactive  # noqa: E401, E402, F401

if __name__ == "__main__":
    sys.exit(main(OUT))
