"""Has the examples of several languages use one server, all at the same time.

Each language has an access point with a client key, an application, an enforcement point and a
follower of the audit log. What happens to them is the
list of steps in `main`.
"""

import itertools
import json
import os
import signal
import sys
import time
import uuid
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import grpc

from aap.v1.decision_pb2 import OUTCOME_ALLOW as ALLOW
from example.v1.secret_service_pb2 import ReadSecretRequest
from example.v1.secret_service_pb2_grpc import SecretServiceStub
from programs import Failure, Language, until
from world import AUDIENCE, LOCATION, SECRET, World, free_address

# How long sessions last: those that are to be renewed, and those that are to be ended.
SHORT, LONG = 6, 900
# How a program ends on SIGTERM, in good order; Java says so by 128 and the signal's number.
ENDED = [0, 128 + signal.SIGTERM]
# Which of an application's reads are made at the same time.
AT_ONCE = 4


class Client:
    """The programs of one language, and what they are known as."""

    def __init__(self, world, language, policy):
        self.world, self.language = world, language
        self.access_point = world.make_access_point(language.name, policy)
        self.key = world.issue_key(self.access_point, "RSA_2048", "MODERN", f"{language.name}.json")
        world.issue_key(self.access_point, "EC_P256", "COMPATIBLE", f"{language.name}-ec.json")
        self.programs = []
        self.application = self.gateway = self.follower = self.plain_gateway = None
        self.gateway_address, self.plain_address = free_address(), free_address()
        self.records = world.path / f"{language.name}-audit"
        self.old_session = None

    def settings(self, caller=None, plain=False):
        account, region = LOCATION.split("/")[1::2]
        settings = {"AAP_ACCOUNT": account, "AAP_REGION": region}
        if plain:
            settings |= {"AAP_SERVER": f"http://{self.world.plain}"}
        else:
            settings |= {
                "AAP_SERVER": f"https://{self.world.tls}",
                "AAP_CA": self.world.file("ca.pem"),
            }
        return settings | ({"AAP_TOKEN_FILE": self.world.file(f"{caller}.token")} if caller else {})

    def application_settings(self, key_file, plain_gateway=None):
        gateway = f"http://{plain_gateway}" if plain_gateway else f"https://{self.gateway_address}"
        return self.settings(plain=plain_gateway is not None) | {
            "AAP_ACCESS_POINT": self.language.name,
            "AAP_AUDIENCE": AUDIENCE,
            "AAP_CLIENT_KEY": self.world.file(key_file),
            "AAP_CLIENT_KEY_PASSWORD_FILE": self.world.file("password"),
            "GATEWAY_SERVER": gateway,
        }

    def start(self, program, arguments, settings, name=None):
        log = self.world.path / f"{self.language.name}-{name or program}.log"
        started = self.language.start(program, arguments, settings, log)
        self.programs.append(started)
        return started

    def start_gateways(self):
        settings = self.settings("gateway") | {
            "GATEWAY_LISTEN": self.gateway_address,
            "GATEWAY_CERTIFICATE": self.world.file("cert.pem"),
            "GATEWAY_KEY": self.world.file("key.pem"),
        }
        self.gateway = self.start("gateway", [], settings)
        settings = self.settings("gateway", plain=True) | {"GATEWAY_LISTEN": self.plain_address}
        self.plain_gateway = self.start("gateway", [], settings, "plain-gateway")

    def start_follower(self):
        self.follower = self.start("audit", [str(self.records)], self.settings("eyes"))

    def start_application(self, session_seconds):
        settings = self.application_settings(f"{self.language.name}.json")
        settings |= {"AAP_SESSION_SECONDS": str(session_seconds)}
        arguments = ["--times", "100000", "--every", "0.5", "--at-once", str(AT_ONCE), SECRET]
        self.application = self.start("application", arguments, settings)

    def new_session(self):
        settings = self.application_settings(f"{self.language.name}.json")
        status, said, wrong = self.language.run("application", ["--show-session"], settings)
        demand(status == 0, f"{self}: no session: {wrong}")
        return said.strip()

    def demand_run(self, arguments, settings, status, what):
        """Runs the application to its end, which must be with that status and say that."""
        ended, said, wrong = self.language.run("application", arguments, settings)
        demand(ended == status and what in said + wrong, f"{self}, {ended}: {said}{wrong}")

    def read_by(self, session):
        """Reads through the gateway by a session: how that ends, and what the gateway says."""
        before = len(self.plain_gateway.lines())
        with grpc.insecure_channel(self.plain_address) as channel:
            stub, shown = SecretServiceStub(channel), [("authorization", f"Bearer {session}")]
            try:
                stub.ReadSecret(ReadSecretRequest(name=SECRET), metadata=shown, timeout=10)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
        until(lambda: len(self.plain_gateway.lines()) > before)
        return code, self.plain_gateway.lines()[-1]

    def expect(self, expected, answered):
        demand(answered[0] == expected[0] and expected[1] in answered[1], f"{self}: {answered}")

    def place(self):
        """What the follower would go on with."""
        path = self.records / "place.json"
        return int(json.loads(path.read_text())["next_sequence"]) if path.exists() else 0

    def follows_through(self, sequence):
        return self.place() > sequence

    def __str__(self):
        return self.language.name


def demand(condition, otherwise):
    if not condition:
        raise Failure(otherwise)


def begin(world, clients):
    # A server takes no assertion of its first five seconds: applications are refused, and go on.
    for client in clients:
        client.start_gateways()
        client.start_follower()
        client.start_application(SHORT)
    for client in clients:
        client.application.wait_for("is read")
        client.gateway.wait_for("allowed: the policy Reports grants it by the network rule Here")
    print("ok: every application reads by a session")


def renew(world, clients):
    """Nobody is refused while sessions are renewed, and all readers of a program share one."""
    before = [len(client.application.lines()) for client in clients]
    first = world.records()[-1].sequence
    seconds = 2 * SHORT + 1
    time.sleep(seconds)
    records = [entry.record for entry in world.records() if entry.sequence > first]
    for client, lines in zip(clients, before):
        said = client.application.lines()[lines:]
        demand(len(said) >= AT_ONCE * seconds, f"{client} reads {len(said)} times only")
        demand(all("is read" in line for line in said), f"{client} is refused: {said}")
        asked = [r.session for r in records if r.session.access_point == client.access_point]
        granted = [session for session in asked if session.outcome == ALLOW]
        # Of 6 seconds, a session is renewed after 4.
        demand(granted == asked and 2 <= len(granted) <= 4, f"{client} has {len(granted)} sessions")
        for one, next_one in itertools.pairwise(granted):
            left = one.expire_time.ToNanoseconds() - next_one.request_time.ToNanoseconds()
            demand(left > 0, f"{client} renews its session {left / 1e9:.1f} s before it ends")
        checks = [r.check for r in records if r.check.access_point == client.access_point]
        demand(
            checks and all(c.decision.outcome == ALLOW for c in checks),
            f"{client}: a check is denied",
        )
    print("ok: sessions are renewed before they end, once for all readers")


def try_plain_text(world, clients):
    """Each application by its other key, through the gateway of another language."""
    others = dict(zip(clients, clients[1:] + clients[:1]))
    no_password = {"AAP_CLIENT_KEY_PASSWORD_FILE": world.file("wrong-password", "battery-staple-2")}
    no_loopback = {"AAP_SERVER": "http://192.0.2.1:7300"}

    def run(client):
        gateway, address = others[client].plain_gateway, others[client].plain_address
        settings = client.application_settings(f"{client}-ec.json", address)
        client.demand_run([SECRET], settings, 0, f"{SECRET} is read: 19 bytes")
        client.demand_run(["elsewhere"], settings, 1, "elsewhere can't be read: PERMISSION_DENIED")
        gateway.wait_for("denied: no policy covers the resource; the nearest policy is Reports")
        client.demand_run([], settings | no_password, 2, "can't be opened with this password")
        client.demand_run([], settings | no_loopback, 2, "neither https:// nor http:// on this")

    with_all(clients, run)
    print("ok: keys of both kinds and encodings open, over plain text on this machine too")


def end_sessions(world, clients):
    """Whose session is ended gets another one, and its reads don't fail."""
    for client in clients:
        before = len(client.gateway.lines()), len(client.application.lines())
        world.call("admin", "AccessPointService/RevokeSessions", {"name": client.access_point})
        ended = "denied: the session is not genuine, or was ended (CREDENTIAL_INVALID"
        seen = client.gateway.wait_for(ended, before[0])
        client.gateway.wait_for("allowed", seen)
        said = client.application.lines()[before[1] :]
        demand(said and all("is read" in line for line in said), f"{client} is refused: {said}")
    print("ok: a session that is ended is replaced, and what was refused is repeated")


def disable_and_enable(world, clients):
    """A session ends for good with its key; with the key back, an application has a new one."""

    def disable(client):
        # Of sessions that would end by themselves, nobody sees that the key ends them.
        client.application.stop()
        before = len(client.application.lines())
        client.start_application(LONG)
        client.application.wait_for("is read", before)
        client.old_session = client.new_session()
        client.expect(("OK", "allowed"), client.read_by(client.old_session))
        before = len(client.gateway.lines()), len(client.application.lines())
        world.call("admin", "AccessPointService/DisableClientKey", {"name": client.key})
        disabled = "denied: the client key is disabled (CREDENTIAL_DISABLED"
        client.expect(("UNAUTHENTICATED", disabled), client.read_by(client.old_session))
        client.gateway.wait_for(disabled, before[0])
        client.application.wait_for("can't be read: UNAUTHENTICATED (SESSION_REFUSED)", before[1])

    def enable(client):
        world.call("admin", "AccessPointService/EnableClientKey", {"name": client.key})
        before = len(client.application.lines())
        ended = "denied: the session is not genuine, or was ended (CREDENTIAL_INVALID"
        client.expect(("UNAUTHENTICATED", ended), client.read_by(client.old_session))
        client.expect(("OK", "allowed"), client.read_by(client.new_session()))
        client.application.wait_for("is read", before)

    with_all(clients, disable)
    print("ok: the next check by a session of a disabled key is denied with CREDENTIAL_DISABLED")
    with_all(clients, enable)
    print("ok: enabled again, the old session stays dead and a new one works")


def with_all(clients, step):
    """Takes a step with all clients at the same time."""
    with ThreadPoolExecutor(len(clients)) as threads:
        list(threads.map(step, clients))


def survive_restarts(world, clients):
    """The server is killed, then stopped in good order; then the followers are killed."""
    for end in (lambda: world.server.kill(), world.stop):
        end()
        before = [len(client.application.lines()) for client in clients]
        world.start()
        for client, lines in zip(clients, before):
            client.application.wait_for("is read", lines)
    for client in clients:
        client.follower.kill()
        # What it had begun to write, and didn't account for, when it was killed.
        with open(client.records / "records.jsonl", "a") as file:
            file.write('{"sequence":"1","leafHash":')
    time.sleep(1)
    for client in clients:
        client.start_follower()
    print("ok: applications go on when the server is killed and when it is restarted")


def follow_to_the_end(world, clients):
    """Each follower has every record of the log once, in order, as the server has it."""
    for client in clients:
        client.application.stop()
        for gateway in client.gateway, client.plain_gateway:
            demand(gateway.stop() in ENDED, f"{client}: the gateway fails at its end")
    expected = [(entry.sequence, b64encode(entry.leaf_hash).decode()) for entry in world.records()]
    for client in clients:
        found = until(lambda: client.follows_through(expected[-1][0]), client.follower.ends_early)
        demand(found, f"{client} follows no further than {client.place()}")
        client.follower.stop()
        lines = (client.records / "records.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        followed = [(int(entry["sequence"]), entry["leafHash"]) for entry in entries]
        demand(followed[: len(expected)] == expected, f"{client} has not what the server has")
        sequences = [sequence for sequence, _ in followed]
        demand(sequences == list(range(1, len(followed) + 1)), f"{client}: {sequences}")
        checks = [entry["record"]["check"] for entry in entries if "check" in entry["record"]]
        reasons = {check["decision"]["reason"] for check in checks}
        demand("DECISION_REASON_CREDENTIAL_DISABLED" in reasons, f"{client} has {reasons}")
    print(f"ok: every follower has {len(expected)} records, each once and in order")


def stop_following(world, clients):
    """Where only a person can help, a follower says why and ends."""

    def run(client, expected):
        settings = client.settings("eyes")
        ended, said, wrong = client.language.run("audit", [str(client.records)], settings)
        demand(ended == 2 and expected in said + wrong, f"{client}, {ended}: {said}{wrong}")

    def follow(client):
        path = client.records / "place.json"
        place = json.loads(path.read_text())
        path.write_text(json.dumps(place | {"log_id": str(uuid.uuid4())}))
        run(client, "can't be followed any further: FAILED_PRECONDITION (OTHER_AUDIT_LOG)")
        path.write_text(json.dumps(place))
        os.truncate(client.records / "records.jsonl", int(place["bytes"]) - 1)
        run(client, "is shorter than")

    with_all(clients, follow)
    print("ok: no follower goes on in another log, or after a record that it has lost")


def main(binary, names):
    world, clients = World(binary), []
    began = time.monotonic()
    try:
        world.start()
        policy = world.make_policy()
        for name in names:
            clients.append(Client(world, Language(name), policy))
        for step in (
            begin,
            renew,
            try_plain_text,
            end_sessions,
            disable_and_enable,
            survive_restarts,
            follow_to_the_end,
            stop_following,
        ):
            since = time.monotonic()
            step(world, clients)
            print(f"   in {time.monotonic() - since:.0f} s", flush=True)
        world.stop()
    except BaseException:
        for program in programs_of(world, clients):
            print(f"-- {program.log_path.name}\n{program.tail()}", file=sys.stderr)
        raise
    finally:
        for program in programs_of(world, clients):
            if not program.ends_early():
                program.kill()
        world.directory.cleanup()
    seconds = time.monotonic() - began
    print(f"the examples in {', '.join(names)} came out as they must, in {seconds:.0f} s")


def programs_of(world, clients):
    programs = [program for client in clients for program in client.programs]
    return programs + ([world.server] if world.server else [])


try:
    main(sys.argv[1], sys.argv[2:])
except Failure as failure:
    sys.exit(f"FAILED: {failure}")
