"""Writes docs/rules.md anew: python -m tests.guard.write_page."""

from surefoot.guard import book
from tests.house_rules import ROOT

if __name__ == "__main__":
    (ROOT / "docs" / "rules.md").write_text(book.page(), encoding="utf-8")
