#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
draws.py: random decisions are drawn in one order, whichever compiler

  draws.py FILE...    prints each expression that draws twice in an order that C leaves to the compiler

C does not say in which order the arguments of a call, the operands of most operators, the sides of an assignment, or
the members of an initialiser are evaluated. An expression that draws two numbers there means another run under another
compiler: a saved input of a fuzz target, or a seed, no longer shows what it was saved for.

A draw is a call of a function named below, or of a function of the given files whose body draws.
"""

import re
import sys

DRAWS = {"feed_take", "feed_below", "feed_chance", "feed_copy", "rng_next", "rng_below", "rng_range", "rng_chance",
         "rng_fill", "unit_random"}
TOKEN = re.compile(r"[A-Za-z_]\w*|0[xX][\da-fA-FuUlL]+|\d[\w.]*|&&|\|\||->|[-+*/%&|^<>=!]=|<<=?|>>=?|\S")
DEFINITION = re.compile(r"^[A-Za-z_][\w \t*\n]*?\b(\w+)\(([^;{}]*)\)\s*\{(.*?)^\}", re.M | re.S)
WORDS = {"if", "while", "for", "switch", "return", "sizeof"}


def plain(text):
    """The text without comments, strings and directives; its lines stay."""
    keep_lines = lambda match: re.sub(r"[^\n]", " ", match.group())
    text = re.sub(r"/\*.*?\*/", keep_lines, text, flags=re.S)
    text = re.sub(r'"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])*\'', "0", text)
    return re.sub(r"^[ \t]*#(.*\\\n)*.*", keep_lines, text, flags=re.M)


def drawing_functions(texts):
    """DRAWS, and every function whose body calls one of them, directly or not."""
    bodies = {}
    for text in texts:
        for match in DEFINITION.finditer(text):
            bodies.setdefault(match.group(1), set()).update(re.findall(r"\b(\w+)\s*\(", match.group(3)))
    known = set(DRAWS)
    while True:
        more = {name for name, calls in bodies.items() if calls & known} - known
        if not more:
            return known
        known |= more


def is_sequenced(tokens, begin, end, depth):
    """Whether the two draws between which tokens[begin:end] lie happen in order: at their common depth there is an
    operator, or a separator, that has an order, and no comma between arguments or members."""
    here = [(word, kind) for word, _, at, kind in tokens[begin:end] if at == depth]
    if any(word == "," and kind not in ("control", "block") for word, kind in here):
        return False
    return any(word in ("&&", "||", "?", ":", ";", "{") or (word in ")}," and kind in ("control", "block"))
               for word, kind in here)


def annotate(text):
    """[word, line, depth of brackets, kind of the innermost one; at its end, of the one that ends]"""
    tokens, stack, line, last = [], ["block"], 1, 0
    for match in TOKEN.finditer(text):
        line += text.count("\n", last, match.start())
        last = match.start()
        word, previous = match.group(), tokens[-1][0] if tokens else ";"
        closed = stack.pop() if word in ")]}" and len(stack) > 1 else ""
        tokens.append([word, line, len(stack), closed or stack[-1]])
        if word == "(":
            stack.append("control" if previous in WORDS else "call")
        elif word == "[":
            stack.append("index")
        elif word == "{":
            stack.append("block" if previous in (")", ";", "{", "}", "else", "do", ":") and
                         not (previous == ")" and stack[-1] != "block") and not is_literal(tokens) else "list")
    return tokens


def is_literal(tokens):
    """Whether the brace that ends `tokens` begins a compound literal: `(struct x){`, `(uint8_t[]){`."""
    at = len(tokens) - 2
    if tokens[at][0] != ")":
        return False
    depth = tokens[at][2]
    while at > 0 and not (tokens[at][0] == "(" and tokens[at][2] == depth):
        at -= 1
    return tokens[at - 1][0] in ("=", "&", ",", "(", "return", "?", ":")


def faults_of(text, known):
    tokens = annotate(text)
    draws = []
    for at in range(len(tokens) - 1):
        word, line, depth, _ = tokens[at]
        if word in known and tokens[at + 1][0] == "(" and tokens[at - 1][0] not in ("*", "void", "bool", "static", "&"):
            end = at + 2
            while end < len(tokens) and not (tokens[end][0] == ")" and tokens[end][2] == depth):
                end += 1
            draws.append((at, end, line))
    faults = []
    for number, (at, end, line) in enumerate(draws):
        for other, _, other_line in draws[number + 1:]:
            if other < end:
                continue  # an argument: evaluated first
            depth = min(token[2] for token in tokens[end:other + 1])
            if not is_sequenced(tokens, end, other, depth):
                faults.append((other_line, tokens[at][0], tokens[other][0]))
            break
    return faults


def main():
    texts = {path: plain(open(path, encoding="utf-8").read()) for path in sys.argv[1:]}
    known = drawing_functions(texts.values())
    count = 0
    for path, text in texts.items():
        for line, first, second in faults_of(text, known):
            print(f"{path}:{line}: the order of {first}() and {second}() is the compiler's")
            count += 1
    return 1 if count else 0


sys.exit(main())
