"""Gets sessions by a client key, and renews them before they end.

A `Sessions` is for the whole program and any number of threads: one of them asks for a session
while the others go on with the one there is, or wait if there is none.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

import grpc

from aap.v1.session_service_pb2 import CreateSessionRequest
from aap.v1.session_service_pb2_grpc import SessionServiceStub
from aap_client.channel import bearer, describe
from aap_client.client_key import ClientKey

# How long an answer may take.
PATIENCE = 10
# A session is renewed when a third of its time is left, or this much.
RENEW_BEFORE = 60
# After a failure nobody asks again for so long, twice as long after each further one.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """A session, in the time of this machine's monotonic clock."""

    token: str
    renew_at: float
    ends_at: float


class Sessions:
    """Always has a session, as far as the server grants them."""

    def __init__(
        self,
        channel: grpc.Channel,
        access_point: str,
        client_key: ClientKey,
        audience: str,
        lifetime_seconds: int = 900,
    ):
        self._stub = SessionServiceStub(channel)
        self._access_point = access_point
        self._client_key = client_key
        self._audience = audience
        self._lifetime = lifetime_seconds
        # Guards all below; whoever waits for it waits for an answer to the one who asks.
        self._changed = threading.Condition()
        self._session: Session | None = None
        self._asking = False
        self._failure: grpc.RpcError | None = None
        self._pause = FIRST_PAUSE
        self._ask_again_at = 0.0

    def token(self) -> str:
        """The token of a session that isn't over; raises `grpc.RpcError` if none is granted."""
        with self._changed:
            while True:
                now = time.monotonic()
                session = self._session
                alive = session is not None and now < session.ends_at
                if alive and now < session.renew_at:
                    return session.token
                if not self._asking:
                    if now >= self._ask_again_at:
                        break
                    if not alive:
                        raise self._failure.with_traceback(None)
                if alive:
                    return session.token
                self._changed.wait()
            self._asking = True
        return self._ask(session if alive else None)

    def drop(self, token: str) -> None:
        """Forgets a session that an enforcement point took no more, unless there is a newer one."""
        with self._changed:
            if self._session is not None and self._session.token == token:
                self._session = None

    def _ask(self, current: Session | None) -> str:
        """Asks for a session; on a failure, the current one is good enough while it lasts."""
        session = failure = None
        try:
            session = self._create()
        except grpc.RpcError as error:
            failure = error
        finally:
            with self._changed:
                self._asking = False
                self._settle(session, failure)
                self._changed.notify_all()
        if session is not None:
            return session.token
        if current is None:
            raise failure
        log.warning("the session could not be renewed yet: %s", describe(failure))
        return current.token

    def _settle(self, session: Session | None, failure: grpc.RpcError | None) -> None:
        if session is not None:
            self._session, self._pause, self._ask_again_at = session, FIRST_PAUSE, 0.0
        elif failure is not None:
            self._failure = failure
            self._ask_again_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _create(self) -> Session:
        asked_at, asked_at_by_wall = time.monotonic(), time.time()
        answer = self._stub.CreateSession(
            CreateSessionRequest(
                access_point=self._access_point,
                client_key_assertion=self._client_key.assertion(self._audience),
                lifetime_seconds=self._lifetime,
            ),
            timeout=PATIENCE,
        )
        # What was asked for bounds it, if this machine's clock is slow; a client key that ends may
        # have made it shorter.
        granted = answer.expire_time.ToNanoseconds() / 1e9 - asked_at_by_wall
        lasts = min(self._lifetime, granted)
        ends_at = asked_at + lasts
        return Session(answer.token, ends_at - min(lasts / 3, RENEW_BEFORE), ends_at)


class SessionInterceptor(grpc.UnaryUnaryClientInterceptor):
    """Shows the session with each unary call, and once a new one where it is not taken any more."""

    def __init__(self, sessions: Sessions):
        self._sessions = sessions

    def intercept_unary_unary(self, continuation, client_call_details, request):
        began = time.monotonic()
        token = self._sessions.token()
        call = continuation(_showing(client_call_details, token, began), request)
        # This waits for the answer, so that calls by `future` are no faster than others.
        if call.code() is grpc.StatusCode.UNAUTHENTICATED:
            self._sessions.drop(token)
            token = self._sessions.token()
            call = continuation(_showing(client_call_details, token, began), request)
        return call


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str], ...]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


def _showing(details, token: str, began: float) -> _Details:
    """The same call, showing a token, in what is left of its time."""
    timeout = details.timeout
    if timeout is not None:
        timeout = max(0, timeout - (time.monotonic() - began))
    return _Details(
        details.method,
        timeout,
        (*(details.metadata or ()), *bearer(token)),
        details.credentials,
        details.wait_for_ready,
        details.compression,
    )
