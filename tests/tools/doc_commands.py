#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""doc_commands: every command that the documents show is run. If this breaks, a reader types a command that fails.

A command is a line of code, or words in backquotes, that begin with `./dragoman`, `make`, a script or program of this
repository with arguments, or a program of the system. The table below says for each how it is run: here, with
arguments that make it short where it is long; or by another test, whose text must have the command's options. A
command without a row fails, and so does a row without a command. Prints TAP.
"""

import ast
import functools
import os
import re
import shlex
import subprocess
import sys
import tempfile

import docs
from docs import read, report, ROOT

SYSTEM = ("apt-get", "sudo", "python3", "git", "cd", "dtc", "fdtput", "xl", "qemu-system-aarch64", "cc", "gcc", "clang")
SECONDS_MAX = 1800 * int(os.environ.get("DRAGOMAN_SLOW", "1"))


class Here:
    """Run here: the command itself, or another one in its place, in which \\1... are the groups of the pattern."""

    def __init__(self, instead=None):
        self.instead = instead

    def wrong(self, command, match):
        words = match.expand(self.instead) if self.instead else command
        done = subprocess.run(["sh", "-ec", words], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SECONDS_MAX, check=False)
        return None if done.returncode == 0 else f"{words}: status {done.returncode}: {done.stdout[-300:].strip()}"


class Test:
    """Run by another test: FILE, whose text must have these words; or FILE: FUNCTION of Python, which must have the
    command's options too."""

    def __init__(self, where, *words):
        self.file, _, self.function = where.partition(": ")
        self.words = words

    def wrong(self, command, _):
        text = function_text(self.file, self.function) if self.function else read(self.file)
        if not text:
            return f"there is no test {self.file}: {self.function}"
        wanted = list(self.words)
        if self.function:
            wanted += options_of(command)
        missing = [word for word in wanted if word not in text]
        return f"{self.file}{': ' + self.function if self.function else ''} does not have {missing}" if missing else None


class Selects:
    """`./dragoman test --guest NAME`: this command runs the test that reads this; here: the name selects a test."""

    def wrong(self, _, match):
        listed = "".join(run_lists())
        return None if match[1] in listed else f"no test has '{match[1]}' in its name"


class Boottree:
    """The configuration's example, with the files that it names, in a directory of their own."""

    def wrong(self, command, _):
        with tempfile.TemporaryDirectory() as directory:
            def write(name, data):
                with open(os.path.join(directory, name), "wb") as file:
                    file.write(data)

            page = read("docs/configuration.md")
            web = re.search(r"^```\n(name .*?)^```", page, re.MULTILINE | re.DOTALL)[1]
            # The second guest is the first one with another name, and with other disks.
            write("web.cfg", web.encode())
            write("db.cfg", re.sub(r"S4EWNX0R", "OTHER", web.replace('"web"', '"db"').replace("nvme0", "nvme1")).encode())
            image = bytes(16) + (4096).to_bytes(8, "little") + bytes(32) + b"ARM\x64" + bytes(4036)
            os.makedirs(os.path.join(directory, "build", "arm64"))
            for name in ("Image", "initrd.img", "build/arm64/dragoman.bin"):
                write(name, image if name != "initrd.img" else b"ramdisk")
            os.symlink(os.path.join(ROOT, "build", "host"), os.path.join(directory, "build", "host"))
            write("board.dts", b"""/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; chosen { stdout-path = "/uart"; };
                memory@40000000 { device_type = "memory"; reg = <0 0x40000000 0 0x40000000>; }; };""")
            done = subprocess.run(["sh", "-ec", f"dtc -q -I dts -O dtb -o BOARD.dtb board.dts; {command}; "
                                   "[ \"$(fdtget BOOT.dtb /dragoman/guest1/disk1 target)\" = serial:S4EWNX0R ]"],
                                  cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            return None if done.returncode == 0 else f"status {done.returncode}: {done.stdout[-300:].strip()}"


@functools.lru_cache
def run_lists():
    return [subprocess.run([sys.executable, "-B", runner, "--list"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
            for runner in ("tests/guest/run.py", "tests/x86/run.py")]


def options_of(command):
    """The options of a command, and their values; not those that a test may choose freely."""
    words = shlex.split(command)[2:]
    return [word for word in words if word not in ("--no-check", "-v") and not word.startswith("build/")]


def function_text(file, name):
    """The source of a Python function, and of all of its module that it uses."""
    source = read(file)
    parts = {}
    for node in ast.parse(source).body:
        text = ast.get_source_segment(source, node)
        if isinstance(node, ast.FunctionDef):
            parts[node.name] = (text, node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            parts[node.targets[0].id] = (text, node)
    texts, wanted = {}, [name]
    while wanted:
        one = wanted.pop()
        if one in parts and one not in texts:
            # As the strings are, whatever quotes and lines they are written with.
            strings = [n.value for n in ast.walk(parts[one][1]) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            texts[one] = "\n".join([parts[one][0], *strings])
            wanted += [n.id for n in ast.walk(parts[one][1]) if isinstance(n, ast.Name)]
    return "\n".join(texts.values())


ENVIRONMENTS = "tests/tools/test_environments.sh"
TEST = "tools/test.sh"  # it runs this test too

TABLE = (
    # The tool.
    (r"\./dragoman( \w+)*( --help| --version)", Here()),
    (r"\./dragoman run", Test("tests/guest/network.py: network_dhcp_and_tcp", "--vif", "user")),
    (r"\./dragoman run -i", Test("tests/guest/interactive.py: interactive_shell")),
    (r"\./dragoman run -v", Test(ENVIRONMENTS, "'-v'", "./dragoman run --task idle $how")),
    (r"\./dragoman run --xen 4\.17 --gic 2", Test("tests/guest/boot.py: boot_xen417_gicv2")),
    (r"\./dragoman run --board zcu102", Test("tests/guest/boards.py: zcu102_reaches_what_is_below_4_gib")),
    (r"\./dragoman run --partitions gpt --guests 2", Test("tests/guest/partitions.py: two_guests_on_a_gpt")),
    (r"\./dragoman run --board zcu102 --memory 4G", Test("tests/guest/boards.py: zcu102_bounces_what_is_above_4_gib")),
    (r"\./dragoman run --guests 2 --disks 2", Test("tests/guest/guests.py: two_guests_two_disks_each")),
    (r"\./dragoman run --xen-args ext_regions=0", Test("tests/guest/boot.py: slots_from_ballooned_ram")),
    (r"\./dragoman run --mode copy", Test("tests/guest/modes.py: mode_copy")),
    (r"\./dragoman run --persistent yes", Test("tests/guest/modes.py: mode_persistent")),
    (r"\./dragoman run --kernel 16k", Test("tests/guest/boot.py: guest_with_16k_pages")),
    (r"\./dragoman run --net tap( --card virtio)?", Test("tests/guest/network.py: network_tap")),
    (r"\./dragoman run --sector 4096", Test("tests/guest/disks.py: main_job_on_4096_byte_sectors")),
    (r"\./dragoman run --task direct", Test("tests/guest/disks.py: direct_io_at_odd_offsets_512")),
    (r"\./dragoman run --guests 2 --guest-task 2=crash", Test("tests/guest/guests.py: guest_crashes_under_io")),
    (r"\./dragoman run --guests 2 --guest-task 2=busy --when .*", Test("tests/guest/guests.py: guest_destroyed_under_io")),
    (r"\./dragoman run --task restarts --on-end restart", Test("tests/guest/restarts.py: guest_reboots_and_comes_back")),
    (r"\./dragoman run --task badsector --bad-sector 8192", Test("tests/guest/errors.py: disk_error_fails_that_request")),
    (r"\./dragoman run --task noflush --flush fail", Test("tests/guest/errors.py: disk_that_does_not_flush")),
    (r"\./dragoman run --smp 1 --qemu-args .*", Test("tests/guest/boot.py: first_backend_ready_within_50_ms")),
    (r"\./dragoman run --image .*ramdisk.*", Test("tests/guest/disks.py: ramdisk_example")),
    (r"\./dragoman run --vif none", Test("tests/guest/boot.py: boot_xen420_gicv3")),
    (r"\./dragoman run --card virtio", Test("tests/guest/network.py: network_virtio")),
    (r"\./dragoman test( --unit)?", Test(TEST, "for script in tests/tools/test_*.sh")),
    (r"\./dragoman test --guest", Test(TEST, "tests/guest/run.py")),
    (r"\./dragoman test --guest (\w+)", Selects()),
    (r"\./dragoman fuzz --replay nvme FILE", Here("./dragoman fuzz --replay nvme fuzz/corpus/nvme/$(ls fuzz/corpus/nvme | head -n 1)")),
    (r"\./dragoman fuzz( --seconds 600 nvme)?", Test(ENVIRONMENTS, "fuzz --seconds 1 nvme")),
    (r"\./dragoman prove( \[NAME\.\.\.\])?", Test(TEST, "run_part proofs tools/prove.sh")),
    (r"\./dragoman prove --trace NAME", Here("./dragoman prove --trace request_range | grep -q 'VERIFICATION SUCCESSFUL'")),
    (r"\./dragoman soak( --rounds 1 --seconds 40)?", Test(ENVIRONMENTS, "soak --rounds 1 --seconds 40")),
    (r"\./dragoman bench", Test("tests/tools/test_environments_ends.sh", "bench p2m")),
    (r"\./dragoman bench dma", Here("make bench-dma")),
    (r"\./dragoman bench p2m", Here("make build/bench/p2m/p2m_count build/bench/p2m/p2m_race")),
    (r"\./dragoman bench path|make bench-path", Test(TEST, "make --no-print-directory bench-path CHECK=yes")),
    (r"\./dragoman bench io( --quick| --docs)?", Here("python3 -B bench/io/io.py --check-options \\1")),  # it takes hours
    (r"\./dragoman bench net( --quick| --docs)?", Here("python3 -B bench/net/net.py --check-options \\1")),
    (r"\./dragoman parts --verify", Test(ENVIRONMENTS, "parts --verify")),
    # The simulated machine.
    (r"\./dragoman sim", Here("./dragoman sim --seed 7")),
    (r"\./dragoman sim --seed 7( --shrink)?", Here()),
    (r"\./dragoman sim --seeds 1-500", Here("./dragoman sim --seeds 1-2")),
    (r"\./dragoman sim --minutes 10", Here("./dragoman sim --minutes 0.01")),
    (r"\./dragoman sim --seeds 1-100 --mode persistent", Here("./dragoman sim --seeds 1-2 --mode persistent")),
    (r"\./dragoman sim --steady 32x1 --mode persistent", Here("./dragoman sim --steady 32x1 --mode persistent --requests 500")),
    (r"\./dragoman sim --nth hypercall --guests 1 --requests 60", Test("tests/sim/run.sh", "--nth hypercall --guests 1 --requests 60")),
    (r"\./dragoman sim --fairness", Test("tests/sim/run.sh", "$fast --fairness")),
    (r"\./dragoman sim( --seeds 1-20)? --network", Test("tests/sim/run.sh", "$fast --seeds 1-20 --network")),
    (r"build/sim/fast/dragoman-sim --seeds 1-20 --shrink", Here("build/sim/fast/dragoman-sim --seeds 1-2 --shrink")),
    # Targets of make.
    (r"make (help|rooms)", Here("make -s \\1 >/dev/null")),
    (r"make embed && build/host/embed", Here()),
    (r"make (check|tsan-check|sim-check|coverage|x86-pv)", Test(TEST, "make --no-print-directory")),
    (r"make (ramdisk|sim)", Test(TEST, "ramdisk", "sim sim-asan")),
    (r"make compile_commands\.json", Test("tests/tools/test_first_hour.sh", "compile_commands.json")),
    (r"make format", Test("tests/tools/test_format.sh", "make --no-print-directory -s format-check")),
    (r"make install( PREFIX=/usr/local)?", Test("tests/tools/test_install.sh", "install PREFIX=")),
    (r"make library", Test("tests/tools/test_library.sh", "build/library/")),
    # Other programs.
    (r"build/host/tools/mkboottree --board BOARD\.dtb .*", Boottree()),
    (r"tests/planted\.sh( \[NAME\.\.\.\])?", Test(TEST, "run_part planted tests/planted.sh")),
    (r"tools/mutate --seed \d+ --count \d+( --seeds \d+)?( [a-z0-9_/ ]+)?", Here("\\g<0> --list >/dev/null")),
    (r"tools/coverage\.sh --missing ROOM\.\.\.", Test("tools/coverage.mk", "tools/coverage.sh $(PATH_ROOMS)")),
    (r"python3 tests/x86/run\.py (costs)", Selects()),
    (r"apt-get (update|install) ?(.*)", Here("apt-get --simulate install \\2 >/dev/null")),
)


# --- the documents ---


def commands(path):
    """The commands that a document shows: those of its code, without comments, and without assignments before them."""
    for line in docs.code(path):
        line = re.split(r"\s#|\s{3,}", line.strip())[0]
        line = re.sub(r"^([A-Z_]+=\S* )+", "", line)
        first, _, rest = line.partition(" ")
        ours = re.match(r"(build|tests|tools|bench|examples)/.*[^:]$", first) and rest
        if first == "./dragoman" and rest.split(" ")[0] not in ("", "COMMAND", "help") or ours or \
                rest and (first == "make" or first in SYSTEM):
            yield re.sub(r"\s+", " ", line)


def row_of(command):
    for number, (pattern, how) in enumerate(TABLE):
        match = re.fullmatch(pattern, command)
        if match:
            return number, how, match
    return None, None, None


VERDICTS = {}


def wrong_command(command):
    """How the command is not run; None: it is, and as it should."""
    if command not in VERDICTS:
        _, how, match = row_of(command)
        VERDICTS[command] = how.wrong(command, match) if how else "neither run here, nor by a test: give it a row in doc_commands.py"
    return VERDICTS[command]


def wrong_commands(path):
    problems = {command: wrong_command(command) for command in commands(path)}
    return [f"{path}: `{command}`: {problem}" for command, problem in problems.items() if problem]


def unused_rows():
    used = {row_of(command)[0] for path in docs.DOCUMENTS for command in commands(path)}
    return [f"no document shows a command of the row {pattern}" for number, (pattern, _) in enumerate(TABLE) if number not in used]


# False commands that must be found, each beside a true one of the same kind.
PLANTED = (
    ("    ./dragoman run --guests 31", "    ./dragoman run --mode copy"),  # a command without a row
    ("```\nmake absent\n```", "```\nmake rooms\n```"),
    ("`./dragoman test --guest absent`", "`./dragoman test --guest mode_`"),
    ("`tools/absent.sh --all`", "`./dragoman --version`"),
    ("`sudo make install`", "`make install PREFIX=/usr/local`"),
)
PLANTED_ROWS = (
    (Here("exit 3"), Here("exit 0")),
    (Test("tests/guest/modes.py: mode_map"), Test("tests/guest/modes.py: mode_copy")),  # has other options
    (Test("tests/guest/modes.py: absent"), Test("tests/guest/modes.py: mode_copy")),
    (Test("tools/test.sh", "absent"), Test("tools/test.sh", "run_part")),
)


def missed_plants():
    problems = []
    for false, true in PLANTED:
        for text in (false, true):
            with tempfile.NamedTemporaryFile("w", suffix=".md", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                if bool(wrong_commands(file.name)) != (text == false):
                    problems.append(f"this is not judged correctly: {text}")
    for false, true in PLANTED_ROWS:
        for how in (false, true):
            command = "./dragoman run --mode copy"
            if bool(how.wrong(command, re.fullmatch(".*", command))) != (how is false):
                problems.append(f"this row is not judged correctly: {vars(how)}")
    return problems


def main():
    os.chdir(ROOT)
    failed = report(missed_plants(), "planted false commands, and rows that run nothing, are found")
    failed |= report([problem for path in docs.DOCUMENTS for problem in wrong_commands(path)], "every command is run")
    failed |= report(unused_rows(), "the table has no other commands")
    print(f"1..{docs.NUMBER}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
