"""Trains as 001 did: python scripts/train_main.py [VRAM_LIMIT_GB=10.0] [MAX_STEPS=80000]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.seed_commands import run

if __name__ == "__main__":
    sys.exit(run(__file__))
