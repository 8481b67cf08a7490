"""Shows a recipe whole: every key with its value, its meaning, and where it was decided."""

import argparse

from surefoot.errors import Problem, UsageError, nearest

TAKES = "RECIPE [KEY] [key=VALUE ...]"
EXAMPLES = """
surefoot show starter optim.matrix
surefoot show starter knobs --plan train.steps=400
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Take whether the plan is shown."""
    parser.add_argument("--plan", action="store_true", help="table every knob over 20 steps")


def main(asked: argparse.Namespace) -> int:
    """Print the recipe, or a part of it, or its plan."""
    from surefoot.recipe.load import load
    from surefoot.recipe.write import tables, text
    from surefoot.show.printed import document, printable
    from surefoot.show.recipe_lines import keys, plan_table, recipe_lines

    loaded = load(asked.what[0], asked.changes)
    part = asked.what[1] if len(asked.what) > 1 else ""
    rows = keys(loaded.recipe, loaded.sources)
    known = [row.key for row in rows]
    picked = [row for row in rows if under(row.key, part)]
    if part and not picked:
        tables_of = {key[: key.index(".", at)] for key in known for at in dots(key)}
        best = nearest(part, sorted({*known, *tables_of}))
        hint = f"Did you mean {best[0]}?" if best else "surefoot show RECIPE lists them all"
        raise UsageError(Problem(part, "", "there is no such key in this recipe", hint))
    if asked.plan:
        head, table = plan_table(loaded.recipe)
        if asked.json:
            print(document(recipe=loaded.recipe.name, columns=head, rows=table))
            return 0
        for line in recipe_lines([head, *table]):
            print(printable(line))
        return 0
    if asked.json:
        said = {row.key: {"value": row.value, "source": row.source, "meaning": row.meaning}
                for row in picked}  # fmt: skip
        print(document(recipe=tables(loaded.recipe), toml=text(loaded.recipe), keys=said))
        return 0
    print(printable(f"# {loaded.recipe.name} ({loaded.where})"))
    for line in recipe_lines([[row.key, row.shown, row.source, row.meaning] for row in picked]):
        print(printable(line))
    return 0


def under(key: str, part: str) -> bool:
    """Say whether a key is the one that is asked for, or in its table."""
    return not part or key == part or key.startswith(f"{part}.") or key.endswith(f".{part}")


def dots(key: str) -> list[int]:
    """Give where the dots of a key are."""
    return [at for at, sign in enumerate(key) if sign == "."]
