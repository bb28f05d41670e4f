"""What the programs are told by their environment; `../README.md` has the list."""

import os
import sys
from pathlib import Path
from typing import NoReturn


def required(name: str) -> str:
    """The value of a variable that must be there."""
    value = os.environ.get(name, "")
    return value or stop(f"{name} is not set")


def location() -> str:
    """The account and region that everything here is about."""
    return f"accounts/{required('AAP_ACCOUNT')}/regions/{required('AAP_REGION')}"


def access_point() -> str:
    """The name of the access point that the application is."""
    return f"{location()}/accessPoints/{required('AAP_ACCESS_POINT')}"


def token() -> str:
    """A caller's bearer token, from a file or from the environment itself."""
    path = os.environ.get("AAP_TOKEN_FILE")
    return Path(path).read_text().strip() if path else required("AAP_TOKEN")


def stop(message: str) -> NoReturn:
    """Ends the program over something that only a person can put right."""
    print(message, file=sys.stderr)
    raise SystemExit(2)
