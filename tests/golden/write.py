"""Writes the golden files anew, as `make golden` does."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.golden.curves import GOLDEN, curve, siblings
from tests.golden.schema import frozen


def write(name: str, told: Any) -> None:
    """Write one file, and say so."""
    text = json.dumps(told, indent=1 if name == "schema" else None, sort_keys=True)
    text = text.replace('}, {"ce"', '},\n {"ce"')
    (GOLDEN / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    print(f"tests/golden/{name}.json", file=sys.stderr)


def main() -> None:
    """Write the schema and every sibling's curve."""
    write("schema", frozen())
    with tempfile.TemporaryDirectory() as place:
        for recipe in siblings():
            write(recipe, curve(recipe, Path(place) / recipe))


if __name__ == "__main__":
    main()
