"""Opens channels: TLS, or plain text on this machine."""

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

OPTIONS = [
    # Notices a server that is gone without a word, which a watch would wait for forever.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC's own bound is two minutes, long after a restarted server is back.
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


def open_channel(server: str, ca_file: str | None = None) -> grpc.Channel:
    """Opens a channel to `https://HOST:PORT`, or to `http://HOST:PORT` on this machine.

    `ca_file` names the authorities that vouch for the server, in PEM; without it, gRPC's own count.
    """
    url = urlsplit(server)
    if url.scheme == "https" and url.hostname:
        authorities = Path(ca_file).read_bytes() if ca_file else None
        return grpc.secure_channel(
            url.netloc, grpc.ssl_channel_credentials(authorities), options=OPTIONS
        )
    if url.scheme == "http" and is_loopback(url.hostname or ""):
        return grpc.insecure_channel(url.netloc, options=OPTIONS)
    raise ValueError(f"{server} is neither https:// nor http:// on this machine")


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata that shows a token."""
    return (("authorization", f"Bearer {token}"),)


def describe(error: grpc.RpcError) -> str:
    """Says what went wrong: the code, the server's reason if it gave one, and its message."""
    reason = reason_of(error)
    return f"{error.code().name}{f' ({reason})' if reason else ''}: {error.details()}"


def reason_of(error: grpc.RpcError) -> str:
    """The server's reason, a name of `aap.v1.ErrorReason` without its prefix; empty without one."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == "aap":
            return info.reason.removeprefix("ERROR_REASON_")
    return ""
