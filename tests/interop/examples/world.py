"""A server that speaks TLS and plain text, and what is on it: callers, policies, client keys."""

import pathlib
import random
import socket
import subprocess
import tempfile

import grpc

from client import Caller, Refusal, methods
from programs import Failure, Program, until

LOCATION = "accounts/acme/regions/eu-1"
AUDIENCE = "aap.test"
PASSWORD = "correct-horse-1"
SECRET = "reports/2025"
# Name and role of everybody who calls; an auditor of all accounts sees every record.
CALLERS = [("admin", "admin", "acme"), ("gateway", "enforcer", "acme"), ("eyes", "auditor", "*")]
# The ports that were given to somebody.
GIVEN = set()


class World:
    """The server, its directory, and who may call it."""

    def __init__(self, binary):
        self.binary = str(pathlib.Path(binary).resolve())
        self.directory = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.directory.name)
        self.tls, self.plain = free_address(), free_address()
        self.server = None
        self.make_certificates()
        self.configure()
        self.file("password", PASSWORD + "\n")

    def make_certificates(self):
        """An authority, and a certificate of this host by it."""
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        authority = ["-x509", "-days", "2", "-subj", "/CN=hosts"]
        self.openssl("req", *key, *authority, "-keyout", "ca-key.pem", "-out", "ca.pem")
        self.openssl("req", *key, "-subj", "/CN=host", "-keyout", "key.pem", "-out", "host.csr")
        (self.path / "host.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self.openssl(
            "x509",
            "-req",
            "-in",
            "host.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca-key.pem",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "host.ext",
            "-out",
            "cert.pem",
        )

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.path, check=True, capture_output=True)

    def configure(self):
        lines = [
            f'data_dir = "{self.path / "data"}"',
            f'listen = ["{self.plain}"]',
            f'sessions.audience = "{AUDIENCE}"',
            "[[listeners]]",
            f'address = "{self.tls}"',
            f'certificate = "{self.path / "cert.pem"}"',
            f'key = "{self.path / "key.pem"}"',
        ]
        for name, role, account in CALLERS:
            made = subprocess.run(
                [self.binary, "token", "new"], check=True, capture_output=True, text=True, env={}
            )
            words = dict(line.split() for line in made.stdout.splitlines())
            self.file(f"{name}.token", words["token"])
            lines += [
                "[[callers]]",
                f'name = "{name}"',
                f'role = "{role}"',
                f'accounts = ["{account}"]',
                f'token_sha256 = "{words["token_sha256"]}"',
            ]
        self.file("aap.toml", "\n".join(lines) + "\n")

    def file(self, name, text=None):
        """A file of this world's directory; written, if there is something to write."""
        if text is not None:
            (self.path / name).write_text(text)
        return str(self.path / name)

    def start(self):
        command = [self.binary, "serve", "--config", "aap.toml"]
        self.server = Program(command, self.path, {}, self.path / "server.log")
        host, port = self.plain.split(":")
        if not until(lambda: connects(host, int(port)), self.server.ends_early):
            raise Failure(f"the server does not start:\n{self.server.tail()}")

    def stop(self):
        if self.server.stop() != 0:
            raise Failure(f"the server did not stop in good order:\n{self.server.tail()}")

    def call(self, caller, method, request):
        with grpc.insecure_channel(self.plain) as channel:
            token = (self.path / f"{caller}.token").read_text()
            answered = Caller(channel, token).call(methods()[method], request)
        if isinstance(answered, Refusal):
            raise Failure(f"{method} is refused: {answered}")
        return answered

    def make_policy(self):
        """Lets those who call from this machine read the reports."""
        rule = {"publicNetwork": {}, "addresses": ["127.0.0.1"]}
        rule = self.call(
            "admin",
            "PolicyService/CreateNetworkRule",
            {"parent": LOCATION, "networkRuleId": "Here", "networkRule": rule},
        )
        policy = {
            "scope": "shared",
            "permissions": ["PERMISSION_TEMPLATE_SECRET_USER"],
            "resources": ["secret/reports/*"],
            "networkRules": {"names": [rule.name]},
        }
        policy = self.call(
            "admin",
            "PolicyService/CreatePolicy",
            {"parent": LOCATION, "policyId": "Reports", "policy": policy},
        )
        return policy.name

    def make_access_point(self, id, policy):
        point = {"clientKey": {}, "policies": [policy]}
        request = {"parent": LOCATION, "accessPointId": id, "accessPoint": point}
        return self.call("admin", "AccessPointService/CreateAccessPoint", request).name

    def issue_key(self, access_point, algorithm, encoding, file):
        """Has a key made, and keeps its file; returns the key's name."""
        answered = self.call(
            "admin",
            "AccessPointService/IssueClientKey",
            {
                "parent": access_point,
                "algorithm": f"CLIENT_KEY_ALGORITHM_{algorithm}",
                "encoding": f"CLIENT_KEY_ENCODING_{encoding}",
                "password": PASSWORD,
            },
        )
        self.file(file, answered.client_key_file)
        return answered.client_key.name

    def records(self):
        """Every record of the audit log by now, oldest first."""
        entries, request = [], {"order": "AUDIT_RECORD_ORDER_OLDEST_FIRST", "pageSize": 1000}
        while True:
            page = self.call("eyes", "AuditService/ListAuditRecords", request)
            entries += page.entries
            if not page.next_page_token:
                return entries
            request["pageToken"] = page.next_page_token


def free_address():
    """An address that nobody listens on, below those that connections are given."""
    while True:
        port = random.randrange(20_000, 32_000)
        if port not in GIVEN and not connects("127.0.0.1", port):
            GIVEN.add(port)
            return f"127.0.0.1:{port}"


def connects(host, port):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False
