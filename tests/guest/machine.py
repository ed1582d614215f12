# SPDX-License-Identifier: MIT
"""The machine under test: one run of `tools/run.sh` (what `./dragoman run` calls), and what it must have printed.

Files of a run remain in build/test/guest/NAME: console.log, results, output."""

import os
import re
import shutil
import subprocess

from harness import expect, read_output, SLOW

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "build", "test", "guest")


class Run:
    """One machine, from power-on to its end."""

    def __init__(self, name, *options, timeout=900):
        self.dir = os.path.join(OUT, name)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        command = [os.path.join(ROOT, "tools", "run.sh"), "--dir", self.dir, "--timeout", str(timeout), *options]
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=(timeout + 300) * SLOW, check=False)
        self.status = done.returncode
        self.output = done.stdout.decode(errors="replace")
        with open(os.path.join(self.dir, "output"), "w", encoding="utf-8") as file:
            file.write(" ".join(command) + "\n" + self.output)
        self.console = self.read("console.log")
        self.results = self.read("results").splitlines()
        self.counters = {}
        for line in self.results:
            words = line.split()
            if words[:1] == ["counter"]:
                self.counters[words[1]] = int(words[2])

    def read(self, name):
        return read_output(self.dir, name)

    def good(self):
        """The run itself found no error: sums, file systems, counters, a clean end."""
        expect(self.status == 0, f"run failed with status {self.status}:\n{self.output[-1500:]}")
        return self

    def said(self, pattern):
        """Dragoman or Xen printed this."""
        expect(re.search(pattern, self.console), f"the console does not say: {pattern}")
        return self

    def guest(self, number, *words):
        """Guest `number` reported these words."""
        wanted = " ".join(["guest", str(number), *words])
        expect(any(line.startswith(wanted) for line in self.results),
               f"no report '{wanted}':\n" + "\n".join(l for l in self.results if l.startswith("guest")))
        return self

    def clean(self):
        """All resources of guests were returned, and the domain shut down."""
        expect(any(line == "end poweroff" for line in self.results), "the domain did not end in good order")
        for name in ("foreign_live", "slots_taken", "slots_retired", "p2m_live", "bounce_taken", "guests_live"):
            expect(self.counters.get(name) == 0, f"{name} is {self.counters.get(name)} at the end, not 0")
        return self

    def direct(self):
        """Bytes were transferred by DMA directly to foreign frames."""
        expect(self.counters.get("dma_direct_bytes", 0) > 0, "no byte went by DMA straight to a foreign frame")
        return self


def main_job(name, *options):
    """A guest makes a file system, writes, reads back and compares; then the host checks the disk's image."""
    return Run(name, *options).good().clean().direct()
