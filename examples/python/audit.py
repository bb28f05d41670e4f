"""Follows the audit log into a directory, and goes on where it was whenever it is started again.

python audit.py DIRECTORY
"""

import argparse
import logging
import os
from pathlib import Path

import grpc

from aap_client import settings
from aap_client.channel import describe, open_channel
from aap_client.follower import Follower


def main() -> None:
    parser = argparse.ArgumentParser(description="Follows the audit log into a directory.")
    parser.add_argument("directory", type=Path, help="where records.jsonl and place.json are")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    channel = open_channel(settings.required("AAP_SERVER"), os.environ.get("AAP_CA"))
    Follower(channel, settings.token(), options.directory).run()


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        settings.stop(str(error))
    except grpc.RpcError as error:
        settings.stop(f"the audit log can't be followed any further: {describe(error)}")
