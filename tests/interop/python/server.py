"""Starts the program on a directory of its own, with fresh callers, and stops it by its process id.

Knows nothing of the API but how to reach it.
"""

import os
import pathlib
import socket
import subprocess
import tempfile
import time

import grpc

# Everybody who calls: name, role, account, and what else the configuration says.
CALLERS = [
    ("admin", "admin", "acme", ""),
    ("second-admin", "admin", "acme", ""),
    ("viewer", "viewer", "acme", ""),
    ("enforcer", "enforcer", "acme", "assert_identity = true"),
    ("gateway", "enforcer", "acme", ""),
    ("auditor", "auditor", "acme", ""),
    ("other-admin", "admin", "other", ""),
    ("other-enforcer", "enforcer", "other", "assert_identity = true"),
    ("other-auditor", "auditor", "other", ""),
    ("eyes", "auditor", "*", ""),
    ("operator", "operator", "*", ""),
]
PATIENCE = 20


class Server:
    """A server, and everybody's tokens."""

    def __init__(self, binary):
        self.binary = os.path.realpath(binary)
        self.directory = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.directory.name)
        self.tokens = {}
        self.process = None
        self.address = None
        configuration = [
            f'data_dir = "{self.path / "data"}"',
            "[sessions]",
            'audience = "aap.test"',
        ]
        for name, role, account, more in CALLERS:
            token, digest = self.new_token()
            self.tokens[name] = token
            configuration += [
                "[[callers]]",
                f'name = "{name}"',
                f'role = "{role}"',
                f'accounts = ["{account}"]',
                f'token_sha256 = "{digest}"',
                more,
            ]
        (self.path / "aap.toml").write_text("\n".join(configuration) + "\n")

    def new_token(self):
        made = subprocess.run(
            [self.binary, "token", "new"], check=True, capture_output=True, text=True, env={}
        )
        words = dict(line.split() for line in made.stdout.splitlines())
        return words["token"], words["token_sha256"]

    def start(self):
        """Starts it on a free port; another process may take that port in between."""
        for _ in range(5):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.address = f"127.0.0.1:{probe.getsockname()[1]}"
            with open(self.path / "log", "wb") as log:
                self.process = subprocess.Popen(
                    [self.binary, "serve", "--config", "aap.toml", "--listen", self.address],
                    cwd=self.path,
                    env={},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            if self.serves():
                return
            self.process.wait(PATIENCE)
            if "can't listen on" not in self.log():
                break
        raise RuntimeError(f"the server does not start:\n{self.log()}")

    def serves(self):
        end = time.monotonic() + PATIENCE
        with grpc.insecure_channel(self.address) as channel:
            ready = grpc.channel_ready_future(channel)
            while self.process.poll() is None and time.monotonic() < end:
                try:
                    ready.result(timeout=0.2)
                    return True
                except grpc.FutureTimeoutError:
                    pass
        return False

    def stop(self):
        """Tells it to stop, and demands that it does, in good order."""
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self.process = None
        if status != 0:
            raise RuntimeError(f"the server ended with status {status}:\n{self.log()}")

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
        self.directory.cleanup()

    def log(self):
        return (self.path / "log").read_text()
