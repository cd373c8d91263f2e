"""Put every mutant of some modules beside what it was made of.

    python make.py MODULE.py ...    in a copy of the project, which is changed

Prints each mutant as JSON: name to its function and the lines that it takes away and adds.
"""

from __future__ import annotations

import difflib
import json
import shutil
import sys
from pathlib import Path

from mutmut.mutation.file_mutation import MutatedFile, mutate_file_contents
from mutmut.mutation.trampoline_templates import trampoline_imports

IMPORT = trampoline_imports.strip()
#: In the package, where programs that tests start find it, too.
SWITCH = Path("vmatrace", "mutant_switch.py")


def differences(module: str, mutated: MutatedFile) -> dict[str, str]:
    lines = mutated.code.splitlines()
    spans = mutated.line_span_by_function_name

    def body(name: str, function: str) -> list[str]:
        span = spans[name]
        return [line.replace(name, function).strip() for line in lines[span.start - 1 : span.end]]

    found = {}
    for name in mutated.mutant_names:
        function = name.rpartition("__mutmut_")[0]
        pair = (body(f"{function}__mutmut_orig", function), body(name, function))
        changed = [
            f"{line[0]} {' '.join(line[1:].split())}"
            for line in difflib.unified_diff(*pair, lineterm="", n=0)
            if line[:1] in "+-" and line[:3] not in ("+++", "---")
        ]
        found[f"{module}.{name}"] = " ".join([f"{module}.{function}", *changed])
    return found


def main() -> None:
    found: dict[str, str] = {}
    shutil.copy(Path(__file__).with_name("switch.py"), SWITCH)
    module = ".".join(SWITCH.with_suffix("").parts)
    switch = IMPORT.replace("mutmut.mutation.trampoline", module)
    for path in map(Path, sys.argv[1:]):
        mutated = mutate_file_contents(str(path), path.read_text(encoding="utf-8"))
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        found |= differences(name, mutated)
        path.write_text(mutated.code.replace(IMPORT, switch), encoding="utf-8")
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
