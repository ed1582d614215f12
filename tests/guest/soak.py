#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Soak: four guests on two CPUs, boot after boot, until one stops making progress; then the state of all is kept.

Guest 1 is steady: it writes and reads its disks and reports its progress. Guest 2 reboots, guest 3 crashes, guest 4
does the main job and powers off. A guest that has not ended and reports no progress for a long time has stalled. The
machine is then not stopped but queried: Dragoman's monitor for rings, event channels and counters, Xen for its debug
keys (domains, event channels, run queues, timers, interrupts), QEMU for the registers of every CPU, several times. All
of it lies in build/soak/ROUND; the summary names the side with the next step as far as the indices show it.

Only its capture is part of the tests (stalls.py); its argument says for how long it runs. Exit status 1: a guest stalled,
or a run failed.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import read_output, SLOW  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "build", "soak")
TASKS = {1: "steady", 2: "reboot", 3: "crash", 4: "verify"}
STALL_S = 300 * SLOW  # without a word of a guest that is not gone; the steady one reports every 3 s of its time
# Xen's debug keys: registers, domains, event channels, run queues, timers, interrupts, grants.
XEN_KEYS = "dqeraig"
XEN_FOCUS = "Serial input to Xen"


class Qmp:
    """QEMU's monitor, on a socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60 * SLOW)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw", encoding="utf-8")
        self.file.readline()  # the greeting
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.file.flush()
        for line in self.file:
            reply = json.loads(line)
            if "return" in reply or "error" in reply:
                return reply.get("return", reply)
        return None

    def monitor(self, line):
        return self.command("human-monitor-command", **{"command-line": line})


class Machine:
    """One boot, watched while it runs. `tasks`: what each guest does."""

    def __init__(self, directory, tasks, options, qemu_args=""):
        self.dir = directory
        self.guests = list(tasks)
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        self.keys = os.path.join(directory, "keys")
        self.qmp = os.path.join("/tmp", f"dragoman-soak-{os.getpid()}")  # a socket's path is short
        os.mkfifo(self.keys)
        command = [os.path.join(ROOT, "tools", "run.sh"), "--dir", directory, "--keys", self.keys, "--timeout", "0",
                   "--guests", str(len(tasks)), "--memory", "2048", "--guest-mem", "192", "--disk-mib", "64",
                   "--mib", "8", *(word for number, task in tasks.items() for word in ("--guest-task", f"{number}={task}")),
                   "--no-check", *options, "--qemu-args", f"-qmp unix:{self.qmp},server=on,wait=off {qemu_args}"]
        with open(os.path.join(directory, "output"), "w", encoding="utf-8") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT, start_new_session=True)

    def read(self, name):
        return read_output(self.dir, name)

    def watch(self, stall_s=STALL_S):
        """Waits for the end. Returns the guests that stalled; [] after an end."""
        heard = {number: (0, time.monotonic()) for number in self.guests}
        while self.process.poll() is None:
            time.sleep(2)
            results = self.read("results")
            now = time.monotonic()
            gone = {int(number) for number in re.findall(r"^gone (\d+) ", results, re.MULTILINE)}
            for number in list(heard):
                # Different lines: the same count of rounds once more is no progress.
                words = len(set(re.findall(rf"^guest {number} .*", results, re.MULTILINE)))
                if number in gone:
                    del heard[number]
                elif words != heard[number][0]:
                    heard[number] = (words, now)
            stalled = [number for number, (_, since) in heard.items() if now - since > stall_s]
            if stalled:
                return stalled
        return []

    def type(self, keys):
        """Types keys on the console. OSError: the machine has ended."""
        pipe = os.open(self.keys, os.O_WRONLY | os.O_NONBLOCK)
        try:
            for key in keys:  # Xen keeps 32 characters for a domain; more at once would be lost
                os.write(pipe, key.encode("latin-1"))
                time.sleep(0.05)
        finally:
            os.close(pipe)

    def wait_quiet(self):
        """Waits until the console has had no output for some time, or a limit is reached."""
        size, since, end = -1, time.monotonic(), time.monotonic() + 60 * SLOW
        while time.monotonic() - since < 3 * SLOW and time.monotonic() < end:
            now = len(self.read("console.log"))
            if now != size:
                size, since = now, time.monotonic()
            time.sleep(0.2)

    def capture(self, stalled):
        """Queries every part that can report. The console's part is in console.log, after the marks."""
        qmp = Qmp(self.qmp)
        with open(os.path.join(self.dir, "stalled"), "w", encoding="utf-8") as file:
            file.write(f"guests {stalled} stalled\n")
            for sample in range(4):
                file.write(f"\n=== registers, sample {sample}\n{qmp.monitor('info registers -a')}\n")
                time.sleep(1)
            for line in ("info irq", "info pic", "info mtree -f", "info pci"):
                file.write(f"\n=== {line}\n{qmp.monitor(line)}\n")
        for line in ("rings", "status", "counters", "rings"):  # Dragoman has the input from the start
            self.type(line + "\r")
            self.wait_quiet()
        for _ in range(len(self.guests) + 3):  # three Ctrl-A move the input to the next domain, and to Xen
            self.type("\x01\x01\x01")
            self.wait_quiet()
            console = self.read("console.log")
            if console.rfind(XEN_FOCUS) == console.rfind("Serial input to"):
                break
        for key in XEN_KEYS:
            self.type(key)
            self.wait_quiet()

    def summary(self):
        """The first and the last report of the rings, and the side with the next step, as lines."""
        said = []
        console = self.read("console.log")
        rings = re.findall(r"dragoman: (guest \d+ xvd\w+: requests: .*)", console)
        ports = re.findall(r"dragoman:\s+(\d+ requests without a response.*)", console)
        lines = [f"{ring}; {port}" for ring, port in zip(rings, ports)]
        for line in lines:
            sent, taken, written, shown = (int(n) for n in re.search(
                r"requests: (\d+) sent, (\d+) taken.*responses: (\d+) written, (\d+) shown", line).groups())
            if sent != taken:
                whose = "Dragoman has not taken requests"
            elif taken != written:
                whose = "the disk, or Dragoman, has requests"
            elif written != shown:
                whose = "Dragoman has not shown responses"
            else:
                whose = "all requests have responses: the guest, its interrupts or its timer"
            said += [line, "  " + whose]
        return said

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(60 * SLOW)
        if os.path.exists(self.qmp):
            os.unlink(self.qmp)


def play(number, gic, pinned, io, arguments):
    name = f"{number:03}-gic{gic}-{'pinned' if pinned else 'unpinned'}{'' if io else '-no-io'}"
    options = ["--gic", str(gic), "--guest-args", f"dragoman.seconds={arguments.seconds} dragoman.io={'yes' if io else 'no'}"]
    if not pinned:
        options += ["--xen-args", "dom0_vcpus_pin=no"]
    machine = Machine(os.path.join(OUT, name), TASKS, options + arguments.options)
    try:
        stalled = machine.watch()
        if stalled:
            try:
                machine.capture(stalled)
            except (OSError, TimeoutError) as end:  # the machine ended meanwhile: it was slow, not stalled
                print(f"# {end}")
            print(f"not ok {number} - {name}: guests {stalled} stalled, see build/soak/{name}", flush=True)
            for line in machine.summary():
                print(f"# {line}", flush=True)
            return False
        good = "end poweroff" in machine.read("results").splitlines()
        print(f"{'ok' if good else 'not ok'} {number} - {name}", flush=True)
        return good
    finally:
        machine.end()


class Parser(argparse.ArgumentParser):
    """Help and errors in the form of the other commands."""

    def format_help(self):
        return super().format_help().replace("usage:", "Usage:", 1)

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\nTry './dragoman soak --help'.\n")


def main():
    parser = Parser(prog="dragoman soak", usage="./dragoman soak [OPTION...] [-- OPTION...]", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="boots (default 8), over GICv3 and v2, pinned and not, with I/O and without")
    parser.add_argument("--seconds", type=int, default=60, help="how long the steady guest runs (default 60)")
    parser.add_argument("--gic", type=int, choices=(2, 3), help="this interrupt controller only")
    parser.add_argument("--pin", choices=("yes", "no"), help="Dom0's vCPU pinned or not, only")
    parser.add_argument("--io", choices=("yes", "no"), help="the guests use their disks or not, only")
    parser.add_argument("--check-options", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="more options of ./dragoman run")
    arguments = parser.parse_args()
    if arguments.check_options:
        return 0
    kinds = [(gic, pinned, io) for io in (True, False) for gic in (3, 2) for pinned in (True, False)
             if arguments.gic in (None, gic) and arguments.pin in (None, "yes" if pinned else "no") and
             arguments.io in (None, "yes" if io else "no")]
    os.makedirs(OUT, exist_ok=True)
    failed = 0
    for number in range(1, arguments.rounds + 1):
        failed += not play(number, *kinds[(number - 1) % len(kinds)], arguments)
    print(f"1..{arguments.rounds}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
