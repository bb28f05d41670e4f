"""What the programs say on their standard output."""

import sys


def say(line: str) -> None:
    """Writes a line whole, and at once: `print` writes its end apart, and threads get between."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
