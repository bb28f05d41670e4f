"""An application that reads a secret through an enforcement point, by a session of its own.

python application.py reports/2025
"""

import argparse
import logging
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from aap_client import settings
from aap_client.channel import describe, open_channel
from aap_client.client_key import ClientKey
from aap_client.output import say
from aap_client.sessions import SessionInterceptor, Sessions
from example.v1.secret_service_pb2 import ReadSecretRequest
from example.v1.secret_service_pb2_grpc import SecretServiceStub


def main() -> int:
    options = parse_options()
    logging.basicConfig(format="%(message)s")
    sessions = open_sessions()
    if options.show_session:
        print(sessions.token())
        return 0
    gateway = grpc.intercept_channel(
        open_channel(settings.required("GATEWAY_SERVER"), os.environ.get("AAP_CA")),
        SessionInterceptor(sessions),
    )
    stub = SecretServiceStub(gateway)
    read_all = True
    with ThreadPoolExecutor(options.at_once) as threads:
        for turn in range(options.times):
            if turn > 0:
                time.sleep(options.every)
            reads = threads.map(read, [stub] * options.at_once, [options.secret] * options.at_once)
            read_all = all(list(reads))
    return 0 if read_all else 1


def open_sessions() -> Sessions:
    password = Path(settings.required("AAP_CLIENT_KEY_PASSWORD_FILE")).read_text().strip()
    return Sessions(
        open_channel(settings.required("AAP_SERVER"), os.environ.get("AAP_CA")),
        settings.access_point(),
        ClientKey.open(Path(settings.required("AAP_CLIENT_KEY")), password),
        settings.required("AAP_AUDIENCE"),
        int(os.environ.get("AAP_SESSION_SECONDS", "900")),
    )


def read(stub: SecretServiceStub, name: str) -> bool:
    try:
        secret = stub.ReadSecret(ReadSecretRequest(name=name), timeout=10).value
    except grpc.RpcError as error:
        say(f"{name} can't be read: {describe(error)}")
        return False
    say(f"{name} is read: {len(secret)} bytes")
    return True


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Reads a secret through an enforcement point.")
    parser.add_argument("secret", nargs="?", default="reports/2025", help="the secret's name")
    parser.add_argument("--times", type=int, default=1, help="how often to read it")
    parser.add_argument("--every", type=float, default=1, help="after how many seconds again")
    parser.add_argument("--at-once", type=int, default=1, help="by how many threads at once")
    parser.add_argument(
        "--show-session", action="store_true", help="print a session's token and read nothing"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as error:
        settings.stop(str(error))
    except grpc.RpcError as error:
        settings.stop(describe(error))
