"""An enforcement point: hands secrets to applications that `aap` allows to read them.

python gateway.py
"""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import grpc

from aap.v1.authorization_service_pb2 import Check, CheckAccessRequest, CheckAccessResponse
from aap.v1.authorization_service_pb2_grpc import AuthorizationServiceStub
from aap.v1.decision_pb2 import Origin
from aap.v1.policy_service_pb2 import PublicNetwork
from aap_client import settings
from aap_client.channel import bearer, describe, open_channel
from aap_client.decisions import allows, in_words, is_about_the_credential
from aap_client.output import say
from example.v1.secret_service_pb2 import ReadSecretResponse
from example.v1.secret_service_pb2_grpc import (
    SecretServiceServicer,
    add_SecretServiceServicer_to_server,
)

# What this gateway guards.
SECRETS = {"reports/2025": b"the figures of 2025"}
# An application that waits longer than this for a decision is refused.
PATIENCE = 5


class Gateway(SecretServiceServicer):
    """Asks before each answer, and answers nothing that was not allowed."""

    def __init__(self, channel: grpc.Channel, token: str, location: str):
        self._stub = AuthorizationServiceStub(channel)
        self._metadata = bearer(token)
        self._location = location

    def ReadSecret(self, request, context):
        resource = f"secret/{request.name}"
        try:
            answer = self._check(session_of(context), resource, address_of(context.peer()))
        except grpc.RpcError as error:
            say(f"{resource}: no decision: {describe(error)}")
            # What the application asked for can be wrong; all else is this gateway's own trouble.
            invalid = error.code() is grpc.StatusCode.INVALID_ARGUMENT
            code = grpc.StatusCode.INVALID_ARGUMENT if invalid else grpc.StatusCode.UNAVAILABLE
            context.abort(code, "this can't be decided")
        say(f"{resource}: {in_words(answer)}")
        # The reason is for who runs this, not for who asks.
        if not allows(answer.decision):
            if is_about_the_credential(answer.decision):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "the session is no good")
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "this is not allowed")
        if request.name not in SECRETS:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such secret")
        return ReadSecretResponse(value=SECRETS[request.name])

    def _check(self, session: str, resource: str, address: str) -> CheckAccessResponse:
        check = Check(
            session=session,
            action="GetSecretValue",
            resource=resource,
            instance="shared",
            # Which network this gateway's listener is reached from is for it to know.
            origin=Origin(public_network=PublicNetwork(), address=address),
        )
        request = CheckAccessRequest(parent=self._location, check=check)
        return self._stub.CheckAccess(request, metadata=self._metadata, timeout=PATIENCE)


def session_of(context: grpc.ServicerContext) -> str:
    """The session that a call shows; empty if it shows none, which is denied and recorded."""
    shown = dict(context.invocation_metadata()).get("authorization", "")
    return shown.removeprefix("Bearer ")


def address_of(peer: str) -> str:
    """The address in what gRPC calls a peer: `ipv4:127.0.0.1:1234`, or `ipv6:%5B::1%5D:1234`."""
    return unquote(peer.partition(":")[2]).rpartition(":")[0].strip("[]")


def main() -> None:
    channel = open_channel(settings.required("AAP_SERVER"), os.environ.get("AAP_CA"))
    gateway = Gateway(channel, settings.token(), settings.location())
    server = grpc.server(ThreadPoolExecutor(16))
    add_SecretServiceServicer_to_server(gateway, server)
    address = os.environ.get("GATEWAY_LISTEN", "127.0.0.1:7400")
    listen(server, address, os.environ.get("GATEWAY_CERTIFICATE"), os.environ.get("GATEWAY_KEY"))
    signal.signal(signal.SIGTERM, lambda *_: server.stop(grace=5))
    server.start()
    say(f"serving on {address}")
    server.wait_for_termination()


def listen(server: grpc.Server, address: str, certificate: str | None, key: str | None) -> None:
    if certificate and key:
        pair = (Path(key).read_bytes(), Path(certificate).read_bytes())
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    elif address.startswith("127."):
        server.add_insecure_port(address)
    else:
        raise ValueError(f"plain text is for 127.0.0.1: {address} needs a certificate and a key")


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        settings.stop(str(error))
