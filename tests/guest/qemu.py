# SPDX-License-Identifier: MIT
"""Clients of QEMU's debugger and monitor, for tests that change the machine while it runs."""

import json
import os
import socket
import tempfile
import threading
import time

from harness import SLOW


def wait_for(console, text):
    """Waits until the file has the text."""
    deadline = time.monotonic() + 300 * SLOW
    while time.monotonic() < deadline:
        with open(console, encoding="utf-8", errors="replace") as file:
            if text in file.read():
                return
        time.sleep(0.2)
    raise OSError(f"the console does not show {text!r}")


class Port:
    """A socket of QEMU. `arguments` are for QEMU."""

    def __init__(self, name, argument):
        # Not below the clone: its path may hold blanks, and a socket's path is short.
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, name)
        self.arguments = f"-chardev socket,path={self.path},server=on,wait=off,id={name} -{argument} chardev:{name}"

    def when(self, path, text, action):
        """Calls `action` in a thread once the file at `path`, which a run will write, holds `text`."""
        if os.path.exists(path):  # of an earlier run
            os.remove(path)

        def run():
            while os.path.exists(self.directory.name):
                try:
                    with open(path, encoding="utf-8", errors="replace") as file:
                        if text in file.read():
                            break
                except FileNotFoundError:
                    pass
                time.sleep(0.2)
            else:
                return
            action()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


class Monitor(Port):
    """QEMU's monitor protocol (QMP)."""

    def __init__(self):
        super().__init__("qmp0", "qmp")
        self.lock = threading.Lock()  # QEMU serves one client, and refuses all but one that waits

    def execute(self, command, **arguments):
        with self.lock, socket.socket(socket.AF_UNIX) as link:
            link.settimeout(600)
            link.connect(self.path)
            file = link.makefile("rw")
            file.readline()  # its greeting
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                file.write(json.dumps(request) + "\n")
                file.flush()
                while "event" in (answer := json.loads(file.readline())):
                    pass
            if "return" not in answer:
                raise OSError(f"QEMU refuses {command}: {answer}")


class GdbStub(Port):
    """QEMU's debugger interface: physical addresses of a machine that runs."""

    def __init__(self):
        super().__init__("gdb0", "gdb")
        self.socket = None
        self.seen = b""

    def _receive(self):
        while True:
            start = self.seen.find(b"$")
            end = self.seen.find(b"#", start)
            if start >= 0 and end >= 0 and len(self.seen) >= end + 3:
                packet, self.seen = self.seen[start + 1:end], self.seen[end + 3:]
                self.socket.sendall(b"+")
                return packet.decode()
            piece = self.socket.recv(4096)
            if not piece:
                raise OSError("QEMU has closed the connection")
            self.seen += piece

    def _ask(self, text):
        """Sends a packet and returns the answer; that the machine has stopped (T...) is none."""
        self.socket.sendall(f"${text}#{sum(text.encode()) & 255:02x}".encode())
        while (answer := self._receive()).startswith("T"):
            pass
        return answer

    def _attach(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(600)
        self.socket.connect(self.path)  # QEMU stops the machine
        self.seen = b""
        if self._ask("Qqemu.PhyMemMode:1") != "OK":
            raise OSError("QEMU does not show physical addresses")

    def _detach(self):
        self._ask("D")  # the machine continues
        self.socket.close()

    def read(self, address, count):
        """The machine is stopped meanwhile."""
        self._attach()
        try:
            return bytes.fromhex(self._ask(f"m{address:x},{count:x}"))
        finally:
            self._detach()

    def write(self, address, data):
        """The machine is stopped meanwhile."""
        self._attach()
        try:
            if self._ask(f"M{address:x},{len(data):x}:{data.hex()}") != "OK":
                raise OSError(f"QEMU does not write to 0x{address:x}")
        finally:
            self._detach()
