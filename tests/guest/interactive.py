# SPDX-License-Identifier: MIT
"""`run -i`: a user at a terminal."""

import os
import pty
import select
import shutil
import signal
import time

from harness import expect, Failure, SLOW, test
from machine import OUT, ROOT


class Terminal:
    """A program on its own terminal, and the keys that a user types."""

    def __init__(self, command, limit_s=900):
        self.deadline = time.monotonic() + limit_s * SLOW
        self.seen = self.all = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execv(command[0], command)

    def wait_for(self, text):
        while text.encode() not in self.seen:
            expect(time.monotonic() < self.deadline, f"the terminal does not show {text!r}:\n{self.all[-1000:]!r}")
            if select.select([self.fd], [], [], 1)[0]:
                try:
                    piece = os.read(self.fd, 4096)
                except OSError as end:
                    raise Failure(f"the program ended before it showed {text!r}:\n{self.all[-1000:]!r}") from end
                self.seen += piece
                self.all += piece
        self.seen = self.seen.split(text.encode(), 1)[1]

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """Reads the rest of the output; returns the program's exit status."""
        while time.monotonic() < self.deadline:
            try:
                if select.select([self.fd], [], [], 1)[0]:
                    self.all += os.read(self.fd, 4096)
            except OSError:
                break
        pid, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self, log):
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
        with open(log, "wb") as file:
            file.write(self.all)


@test
def interactive_shell():
    """`run -i`: a shell in the guest on this terminal; Ctrl-C reaches the guest, Ctrl-T the monitor, `exit` ends it."""
    directory = os.path.join(OUT, "interactive_shell")
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    terminal = Terminal([os.path.join(ROOT, "tools", "run.sh"), "-i", "--dir", directory])
    try:
        terminal.wait_for("To leave:")
        terminal.wait_for("/mnt/xvda # ")
        terminal.type("echo sum $((40 + 2)); sleep 100\n")
        terminal.wait_for("sum 42")
        time.sleep(1)
        terminal.type("\x03")
        terminal.wait_for("/mnt/xvda # ")
        terminal.type("echo status $?; ls -d lost+found\n")
        terminal.wait_for("status 130")
        terminal.wait_for("\nlost+found")
        terminal.type("\x14")
        terminal.wait_for("Dragoman's monitor")
        terminal.type("status\r")
        terminal.wait_for("guest 1 (guest1): running")
        terminal.type("\x14")
        terminal.wait_for("the guest's shell")
        terminal.type("echo back $((40 + 3))\n")
        terminal.wait_for("back 43")
        terminal.type("exit\n")
        expect(terminal.end() == 0, "run -i did not end with status 0")
    finally:
        terminal.close(os.path.join(directory, "terminal"))
