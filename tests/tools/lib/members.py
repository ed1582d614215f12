# SPDX-License-Identifier: MIT
"""members.py TREE [SOURCE...]: the members of public structs that a room keeps to itself are used by no other room.

A struct of a public header whose comment says "the rest is ROOM's own", or "All of it is ROOM's own", has members that
only ROOM uses: all but those that the comment names in backquotes (`bytes_*` names several). Every use of a member in
the product, or in the sources named, is looked up in clang's syntax tree. Prints a line for each use that the comment does not allow."""

import concurrent.futures
import fnmatch
import json
import os
import re
import subprocess
import sys

ROOMS = ("base", "hyper", "pages", "dma", "reach", "core", "drivers", "xenstore", "block", "net", "kernel", "examples")
OWN = re.compile(r"(?:the rest|All of it) is (\w+)'s? own")
STRUCT = re.compile(r"(?:/\*((?:[^*]|\*(?!/))*)\*/\n)?struct (\w+) \{")


def room_of(path):
    path = os.path.normpath(path)
    return path.removeprefix("include/dragoman/").split("/")[0]


def private_structs(tree):
    """{(header, struct): patterns of the members that other rooms may use}"""
    structs = {}
    for directory, _, names in os.walk(os.path.join(tree, "include/dragoman")):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, encoding="utf-8") as file:
                text = file.read()
            for comment, struct in STRUCT.findall(text):
                words = " ".join(re.sub(r"\n \*", " ", comment).split())
                if OWN.search(words):
                    open_names = [name.split(".")[0] for name in re.findall(r"`([\w.*]+)`", words)]
                    structs[os.path.relpath(path, tree), struct] = open_names
    return structs


class Uses:
    """The members of structs that one source file uses: (header, struct, member, room of the use)."""

    def __init__(self, tree, source):
        command = ["clang", "-std=gnu17", "-fsyntax-only", "-ffreestanding", "-Iinclude", "-I.", "-Iport/sim",
                   "-isystem", "build/xen-headers", "-D__XEN_TOOLS__=1", "-Xclang", "-ast-dump=json", source]
        result = subprocess.run(command, cwd=tree, capture_output=True, check=False)
        self.source, self.file, self.fields, self.used = source, None, {}, []
        self.visit(json.loads(result.stdout), None)

    def place(self, location):
        """clang names the file of a place only where it differs from that of the place before."""
        for key, value in location.items():
            if key == "file":
                self.file = value
            elif isinstance(value, dict) and key != "includedFrom":
                self.place(value)

    def visit(self, node, record):
        file = self.file
        for key, value in node.items():
            if key == "loc":
                self.place(value)
                file = self.file
            elif key == "range":
                self.place(value.get("begin", {}))
                if node["kind"] == "MemberExpr":
                    file = self.file
                self.place(value.get("end", {}))
            elif key == "inner":
                below = None
                if node["kind"] == "RecordDecl":
                    below = (file or "", node.get("name") or (record[1] if record else ""))
                for child in value:
                    self.visit(child, below)
        if node.get("kind") == "FieldDecl" and record and "name" in node:
            self.fields[node["id"]] = (os.path.normpath(record[0]), record[1], node["name"])
        elif node.get("kind") == "MemberExpr":
            self.used.append((node.get("referencedMemberDecl"), room_of(file or self.source)))

    def all(self):
        return {(*self.fields[field], room) for field, room in self.used if field in self.fields}


def uses(arguments):
    sys.setrecursionlimit(20000)
    return Uses(*arguments).all()


def main(tree, *sources):
    structs = private_structs(tree)
    sources = sources or [os.path.relpath(os.path.join(directory, name), tree) for room in ROOMS
               for directory, _, names in os.walk(os.path.join(tree, room)) for name in names if name.endswith(".c")]
    if not structs or not sources:
        print("no struct says what is its room's own, or there is no source")
    with concurrent.futures.ProcessPoolExecutor() as pool:
        found = set().union(*pool.map(uses, [(tree, source) for source in sorted(sources)], chunksize=8))
    for header, struct, member, room in sorted(found):
        allowed = structs.get((header, struct))
        if allowed is None or room == room_of(header):
            continue
        if not any(fnmatch.fnmatch(member, pattern) for pattern in allowed):
            print(f"{header}: {room} uses {struct}.{member}, which is {room_of(header)}'s own")


main(*sys.argv[1:])
