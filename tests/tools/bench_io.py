# SPDX-License-Identifier: MIT
"""Tests of bench/io without a machine: the plugin's file to figures, figures to tables and charts, options. Prints TAP."""

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(ROOT, "bench", "io"), os.path.join(ROOT, "bench", "machine")]

import account  # noqa: E402
import charts  # noqa: E402
import machines  # noqa: E402
import report  # noqa: E402
import tables  # noqa: E402
import tabulate  # noqa: E402

CONSOLE = """(XEN) BANK[0] 0x00000080000000-0x00000081000000 (16MB)
(XEN) Loading zImage from 0000000050000000 to 0000000080000000-0000000080048000
dragoman: counter bytes_read 8192
dragoman: counter bytes_written 0
dragoman: counter copied_from_guests_bytes 0
dragoman: counter copied_to_guests_bytes 4096
"""
HVC = 0xD4000002 | 0xEA1 << 5
MOV_X16_32 = 0xD2800010 | 32 << 5
XEN = 0xA0000000000
# Ten operations. Dragoman's HVC, a guest's HVC for an event and a firmware's, both WFIs, an unmap's flush.
WINDOW = f"""window 10
place 80000040 80000040 {HVC:x} aa0003e0 10 10 500 0 0
place 80000080 80000080 {account.WFI:x} 0 20 20 600 5 50
place ffff0000 c0000000 {HVC:x} {MOV_X16_32:x} 10 10 200 0 0
place ffff0010 c0000010 {0xD4000002:x} 0 40 40 80 0 0
place ffff0020 c0000020 8b0000a4 0 250 0 0 10 100
place {XEN:x} 40000000 d50c83df 0 30 0 0 0 0
place {XEN + 4:x} 40000004 {account.WFI:x} 0 10 10 70 0 0
writes 20
turns 5 1234
watch 32 10 500
"""


def equal(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, not {wanted!r}")


def figures():
    (window,) = account.windows(WINDOW.splitlines())
    return account.per_operation(window, account.Layout(CONSOLE))


def result(system, depth=1, guests=1, scale=1.0, run=0, **more):
    found = figures()
    found["owners"] = {name: value * scale for name, value in found["owners"].items()}
    return {"system": system, "guests": guests, "cpus": 1, "kind": "read", "bytes": 4096, "depth": depth, "run": run,
            **found, **more}


FACTS = {"commit": "abc", "qemu": "QEMU", "xen": "xen", "kernel": "6.12", "image_bytes": 1}


def owners_are_told_apart_by_place():
    equal(figures()["owners"], {"Xen": 4.0, "backend": 3.0, "guest": 30.0}, "owners")


def without_xen_all_is_the_guest():
    (window,) = account.windows(WINDOW.splitlines())
    owners = account.per_operation(window, account.Layout("Linux boots"))["owners"]
    equal(owners, {"Xen": 0.0, "backend": 0.0, "guest": 37.0}, "owners")


def every_entry_to_xen_has_its_cause():
    causes = {name: (one["entries"], one["instructions"]) for name, one in figures()["causes"].items()}
    equal(causes, {
        "Xen, woken from idle by an interrupt": (1.0, 7.0),
        "backend calls event_channel_op": (1.0, 50.0),
        "backend idles (WFI)": (2.0, 60.0),
        "guest calls event_channel_op": (1.0, 20.0),
        "guest calls the firmware": (4.0, 8.0),
        "interrupt while backend runs": (0.5, 5.0),
        "interrupt while guest runs": (1.0, 10.0),
    }, "causes")


def flushes_doorbells_and_turns_are_counted():
    found = figures()
    equal((found["tlb_flushes"], found["doorbells"], found["turn_most"]), (3.0, 2.0, 1234), "counts")


def a_window_without_operations_is_no_result():
    (window,) = account.windows(["window 0", "writes 0"])
    try:
        account.per_operation(window, account.Layout(CONSOLE))
    except account.Broken:
        return
    raise AssertionError("a window without operations was taken for a result")


def copied_bytes_are_scaled_to_the_request():
    found = [{}]
    machines.add_copied_bytes(found, account.counters(CONSOLE), machines.Boot("copy", [("read", 4096, 1, 10)]))
    equal(found[0]["copied"], 2048.0, "bytes copied of a request of 4096")


def the_median_is_taken_and_the_spread_shown():
    summary = tables.summarise([result("map", scale=scale, run=run) for run, scale in enumerate((1, 2, 1.5))])
    (merged,) = summary.values()
    equal((merged["runs"], merged["total"]), (3, 55.5), "median")
    equal(round(merged["spread"], 3), round(37 / 55.5, 3), "spread")


def some_results():
    return [result(system, depth, scale=1 + depth / 32) for system in ("native", "linux", "persistent")
            for depth in (1, 2, 32)] + [result("persistent", 32, guests=4)]


def the_tables_have_every_system_and_depth():
    text = tables.markdown(FACTS, tables.summarise(some_results()))
    for wanted in ("native Linux", "Linux Dom0, persistent grants", "event_channel_op 1.00", "4 KiB reads, depth | 1 | 2 | 32",
                   "4 KiB reads, guests | 1 | 4", "1,234"):
        if wanted not in text:
            raise AssertionError(f"the tables lack '{wanted}':\n{text}")
    for block in text.split("\n\n"):
        if len({line.count("|") for line in block.splitlines() if line.startswith("|")}) > 1:
            raise AssertionError(f"rows of different lengths:\n{block}")


def the_page_is_whole_and_its_charts_are_xml():
    page = report.page(FACTS, tables.summarise(some_results()), ["linux: <broken>"])
    drawings = page.split("<svg ")[1:]
    if len(drawings) < 5:
        raise AssertionError(f"{len(drawings)} charts")
    for drawing in drawings:
        xml.etree.ElementTree.fromstring("<svg " + drawing.split("</svg>")[0] + "</svg>")
    for wanted in ("prefers-color-scheme: dark", "linux: &lt;broken&gt;", "native Linux 38"):
        if wanted not in page:
            raise AssertionError(f"the page lacks '{wanted}'")
    for address in ("http:", "https:", "src=", "@import"):
        if address in page:
            raise AssertionError(f"the page needs another file: {address}")


def bars_are_as_long_as_their_values():
    drawing = charts.bars("t", [("a", {"x": 30, "y": 10}), ("b", {"x": 60})], ["x", "y"])
    widths = [float(rect.get("width")) for rect in xml.etree.ElementTree.fromstring(drawing).iter("rect")]
    equal([round(width / widths[0], 2) for width in widths], [1.0, 0.33, 2.0, 0.0], "widths")


def an_axis_covers_its_values():
    for most in (1, 9.9, 10, 101, 38_200, 229_578):
        if not most <= charts.ticks(most)[-1] <= 2.6 * most:
            raise AssertionError(f"axis to {charts.ticks(most)[-1]} for {most}")


def the_generated_block_is_replaced_and_nothing_else():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "measures.md")
        begin, end = tabulate.markers("io")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"before\n{begin}\nold\n{end}\nafter\n")
        tabulate.write_into(path, "io", "new\n")
        tabulate.write_into(path, "io", "newer\n")
        with open(path, encoding="utf-8") as file:
            equal(file.read(), f"before\n{begin}\n\nnewer\n\n{end}\nafter\n", "document")


def io_py(*arguments):
    return subprocess.run([sys.executable, "-B", os.path.join(ROOT, "bench", "io", "io.py"), *arguments], check=False,
                          capture_output=True, text=True)


def wrong_options_are_refused_before_anything_is_measured():
    for arguments in (["--quick", "--full"], ["--runs", "0"], ["--jobs", "0"], ["--system", "windows"], ["--divide", "x"], ["extra"]):
        equal(io_py(*arguments).returncode, 2, f"status with {arguments}")


def a_report_is_made_again_from_its_json():
    with tempfile.TemporaryDirectory() as directory:
        source = os.path.join(directory, "report.json")
        with open(source, "w", encoding="utf-8") as file:
            json.dump({"facts": FACTS, "results": some_results(), "failures": []}, file)
        made = io_py("--from", source, "--out", directory)
        equal(made.returncode, 0, f"status ({made.stderr})")
        equal(made.stdout.count("# measure: "), 10, "lines of measures")
        for name in ("report.html", "tables.md"):
            if not os.path.getsize(os.path.join(directory, name)):
                raise AssertionError(f"{name} is empty")


def main():
    tests = [value for name, value in globals().items() if callable(value) and getattr(value, "__module__", "") == "__main__"
             and value.__code__.co_argcount == 0 and name not in ("main", "figures", "some_results", "io_py")]
    failed = 0
    for number, one in enumerate(tests, 1):
        try:
            one()
            print(f"ok {number} - bench_io: {one.__name__.replace('_', ' ')}")
        except AssertionError as problem:
            failed += 1
            print(f"# {problem}".replace("\n", "\n# "))
            print(f"not ok {number} - bench_io: {one.__name__.replace('_', ' ')}")
    print(f"1..{len(tests)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
