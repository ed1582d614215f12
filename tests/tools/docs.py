#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs: all that the documents name exists. If this breaks, a reader follows a link, a command or a test's name to
nothing.

Every link and anchor resolves; every command (`./dragoman ...`, `make ...`) exists and has the options it is shown
with; every file and directory of this repository in backquotes exists, and every
name of the library; every test named in regressions.md is a test;
every counter that the domain prints is explained, and no other. Prints TAP.
"""

import functools
import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENTS = sorted(glob.glob("*.md") + glob.glob("docs/*.md") + glob.glob("*/README.md") + glob.glob("*/*/README.md"))
NUMBER = 0


def report(problems, name):
    global NUMBER
    NUMBER += 1
    for problem in problems:
        print(f"# {problem}")
    print(f"{'not ok' if problems else 'ok'} {NUMBER} - docs: {name}")
    return bool(problems)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def anchors(path):
    """The anchors that GitHub gives to the headings of a document."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", read(path), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        found.add(re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-"))
    return found


def wrong_links(path):
    problems = []
    text = re.sub(r"^```.*?^```", "", read(path), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        file = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        if not os.path.exists(file):
            problems.append(f"{path}: the link {target} leads nowhere")
        elif anchor and file.endswith(".md") and anchor not in anchors(file):
            problems.append(f"{path}: {file} has no heading #{anchor}")
    return problems


def code(path):
    """All code of a document: fences, indented lines, and the words in backquotes."""
    text = read(path)
    lines = re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE)
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        lines += re.sub(r"\\\n\s*", " ", block).splitlines()
    return lines + re.findall(r"`([^`\n]+)`", text)


def words_of(line):
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []


def run(*command):
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, text=True)


HELP = {}


def help_of(command):
    if command not in HELP:
        done = run("./dragoman", *command.split(), "--help")
        HELP[command] = done.stdout if done.returncode == 0 else ""
    return HELP[command]


def wrong_dragoman(words):
    words = [word for word in words if word != "-y"]
    while words and "=" in words[0]:
        words = words[1:]
    arguments = words[words.index("./dragoman") + 1:] if "./dragoman" in words else None
    if not arguments or arguments[0] in ("--help", "--version", "help", "COMMAND"):
        return None
    command, options = arguments[0], arguments[1:]
    if not help_of(command):
        return f"there is no command '{command}'"
    if command == "run":
        done = run("tools/run.sh", "--check-options", *options)
        return done.stdout.strip() if done.returncode else None
    if arguments[0] == "bench" and options[:1] in (["io"], ["net"]):
        command, options = f"bench {options[0]}", options[1:]
    known = set(re.findall(r"--?[a-z][a-z0-9-]*", help_of(command))) | {"--help"}
    wrong = [option for option in options if option.startswith("-") and option.split("=")[0] not in known]
    return f"'{command}' has no option {wrong}" if wrong else None


MAKE = {}


def wrong_make(words):
    for target in words[1:]:
        if "=" in target or target.startswith("-") or re.search(r"[A-Z*<]|\.\.\.", target):
            continue
        if target not in MAKE:
            MAKE[target] = run("make", "-n", target)
        if MAKE[target].returncode and "No rule to make target" in MAKE[target].stdout:
            return f"make has no target '{target}'"
    return None


def wrong_commands(path):
    problems = []
    for line in code(path):
        if re.search(r"\s#.*\./dragoman", line):
            problems.append(f"{path}: `{line}`: a command behind a comment (lines that were joined?)")
        for part in re.split(r"&&|;|\|", line):
            words = words_of(part)
            wrong = None
            if "./dragoman" in words:
                wrong = wrong_dragoman(words)
            elif words[:1] == ["make"]:
                wrong = wrong_make(words)
            if wrong:
                problems.append(f"{path}: `{part.strip()}`: {wrong}")
    return problems


ROOMS = [name for name in os.listdir(ROOT) if os.path.isdir(os.path.join(ROOT, name)) and name not in ("build", ".git")]


def wrong_files(path):
    problems = []
    for span in re.findall(r"`([^`\n]+)`", read(path)):
        if not re.fullmatch(r"[\w./-]+", span) or "/" not in span or span.startswith(("/", "-", ".")):
            continue
        if span.split("/")[0] in ROOMS and re.search(r"\.(c|h|S|sh|py|md|mk|pml|patch)$|/$", span):
            if not os.path.exists(span) and not os.path.exists("include/dragoman/" + span) and not re.search(r"[A-Z]{3,}", span):
                problems.append(f"{path}: there is no {span}")
        elif span.startswith("dragoman/") and span.endswith(".h") and not os.path.exists("include/" + span):
            problems.append(f"{path}: there is no include/{span}")
    return problems


@functools.lru_cache
def names_of_library():
    """Every dgm_ name in the sources; documents say how the parts of a name are written for several (dgm_NAME_check)."""
    names = set()
    for file in glob.glob("**/*.[ch]", recursive=True):
        if not file.startswith("build/"):
            names.update(re.findall(r"\b(?:dgm|DGM)_\w+", read(file)))
    return names


def wrong_names(path):
    names = names_of_library()
    named = set()
    for span in re.findall(r"`([^`\n]+)`", read(path)):
        named.update(re.findall(r"\b(?:dgm|DGM)_[A-Za-z0-9_]*[A-Za-z0-9]\b(?![*_])", span))
    return [f"{path}: there is no {name}" for name in sorted(named - names) if "NAME" not in name]


def functions_of_tests():
    """All names of unit tests by program, and of guest tests."""
    tests = {}
    for file in glob.glob("tests/unit/*/*.c") + glob.glob("tests/x86/*.py") + glob.glob("tests/guest/*.py"):
        name = re.sub(r"\.(c|py)$", "", os.path.basename(file))
        names = re.findall(r"^(?:static void|def) (\w+)\(|(?:TEST|cmocka_unit_test\w*)\((\w+)", read(file), re.MULTILINE)
        tests.setdefault(name, set()).update(one or other for one, other in names)
    return tests


def wrong_tests(path):
    """`test_file: name`, then `name` of the same file, and planted: `patch`."""
    problems = []
    tests = functions_of_tests()
    for row in read(path).splitlines():
        cell = row.rsplit("|", 2)[-2] if row.count("|") >= 3 else ""
        program = None
        planted = False
        for before, span in re.findall(r"([^`]*)`([^`]+)`", cell):
            planted = ("planted:" in before) or (planted and before.strip() == ",")
            named = re.fullmatch(r"(?:[\w/]+/)?(\w+)(?:\.py|\.c)?: (\w+|\*)", span)
            if planted:
                if not os.path.exists(f"tests/planted/{span}.patch"):
                    problems.append(f"{path}: there is no planted bug {span}")
            elif named and named[1] in tests or re.fullmatch(r"test_\w+: .*", span):
                program = named[1] if named else span.split(":")[0]
                name = named[2] if named else span.split(": ")[1]
                if program not in tests or (name != "*" and name not in tests[program]):
                    problems.append(f"{path}: there is no test {span}")
            elif program and before.strip() == "," and re.fullmatch(r"\w+", span) and span not in tests[program]:
                problems.append(f"{path}: {program} has no test {span}")
    return problems


def wrong_counters(path):
    printed = set(re.findall(r'\b\w+\("([a-z0-9_]+)", ', read("kernel/report.c")))
    explained = set(re.findall(r"^\| `([a-z0-9_]+)` \|", read(path), re.MULTILINE))
    return [f"{path}: does not explain the counter {name}" for name in sorted(printed - explained)] + \
        [f"{path}: explains {name}, which is no counter" for name in sorted(explained - printed)]


# For each check a false statement that it must find, and a true one of the same kind.
PLANTED = (
    (wrong_links, "[a](absent.md)", f"[a]({ROOT}/README.md)"),
    (wrong_links, f"[a]({ROOT}/README.md#absent)", f"[a]({ROOT}/README.md#try-it)"),
    (wrong_commands, "`./dragoman walk`", "`./dragoman run`"),
    (wrong_commands, "    ./dragoman fuzz --absent 1 nvme", "    ./dragoman fuzz --seconds 1 nvme"),
    (wrong_commands, "```\nDEBUG=1 ./dragoman test --absent\n```", "```\n./dragoman test --unit\n```"),
    (wrong_commands, "    ./dragoman fuzz # all ./dragoman fuzz nvme # one", "    ./dragoman fuzz # all"),
    (wrong_commands, "`make absent`", "`make tools`"),
    (wrong_files, "`tools/absent.sh`", "`tools/run.sh`"),
    (wrong_names, "`dgm_absent_take`", "`dgm_slot_reserve`"),
    (wrong_tests, "| a | `test_boot_tree: absent` |", "| a | `test_boot_tree: options_are_honoured` |"),
    (wrong_tests, "| a | planted: `absent` |", "| a | planted: `short-is-an-error` |"),
    (wrong_counters, "| `absent` | never |", None),
)


def missed_plants():
    """The planted statements that a check does not judge correctly."""
    problems = []
    for check, false, true in PLANTED:
        for text in (false, true):
            with tempfile.NamedTemporaryFile("w", suffix=".md", encoding="utf-8") as file:
                file.write((text or "") + "\n")
                file.flush()
                found = bool(check(file.name))
            if text and found != (text == false):
                problems.append(f"{check.__name__} does not judge this correctly: {text}")
    return problems


def main():
    os.chdir(ROOT)
    failed = report(missed_plants(), "planted false links, commands, files, names and tests are found")
    for check, name in ((wrong_links, "links"), (wrong_commands, "commands"), (wrong_files, "files"),
                        (wrong_names, "names of the library")):
        failed |= report([problem for path in DOCUMENTS for problem in check(path)], name)
    failed |= report(wrong_tests("docs/regressions.md"), "tests named in docs/regressions.md")
    failed |= report(wrong_counters("docs/counters.md"), "every counter is explained")
    print(f"1..{NUMBER}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
