"""`make conformance`: every trace of traces/ as a C program, and a script that runs them all.

    python tests/conformance/pack.py FOLDER [--kernel MODEL]

The folder needs nothing but a C compiler where it is taken: `sh run.sh`, or CC=… sh run.sh.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vmatrace.commands.export import source
from vmatrace.commands.export.program import UnperformableError, program
from vmatrace.kernels import get_kernel
from vmatrace.trace.file import load_trace

TRACES = Path(__file__).parents[2] / "traces"
RUNNER = """#!/bin/sh
# Compiles and runs every program here; KTAP on standard output. Exit status 1 if one fails.
# CC: the compiler. RUN: what runs a program (an emulator, say).
cd "$(dirname "$0")" || exit 2
set -- *.c
echo "KTAP version 1"
echo "1..$#"
number=0 status=0
for source in "$@"; do
    number=$((number + 1)) name=${source%.c}
    if ! ${CC:-cc} -O1 -static -o "$name" "$source" >"$name.out" 2>&1; then
        sed 's/^/# /' "$name.out"
        echo "not ok $number $name # does not compile"
        status=1
        continue
    fi
    ${RUN:-} "./$name" >"$name.out" 2>&1
    case $? in
        0) echo "ok $number $name" ;;
        4) echo "ok $number $name # SKIP $(sed -n 's/.*# SKIP //p' "$name.out")" ;;
        *) grep -v '^ok' "$name.out" | sed 's/^/# /'; echo "not ok $number $name"; status=1 ;;
    esac
    rm -f "$name" "$name.out"
done
exit $status
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make conformance")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kernel", default="post-patch")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    kernel = get_kernel(asked.kernel)
    refused = 0
    for path in sorted(TRACES.glob("*.yaml")):
        with (asked.folder / f"{path.stem}.c").open("w", encoding="utf-8") as out:
            try:
                source.write(program(load_trace(path), kernel, layouts=True), out)
            except UnperformableError as why:
                refused += 1
                source.write_skipped(path.stem, str(why), out)
    (asked.folder / "run.sh").write_text(RUNNER, encoding="utf-8")
    total = len(list(asked.folder.glob("*.c")))
    sys.stdout.write(f"{total} programs, {refused} of them skipped; sh {asked.folder}/run.sh\n")


if __name__ == "__main__":
    main()
