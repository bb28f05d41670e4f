"""Lets a log grow past 100,000 records, and has roots and proofs agree with `evidence.py` at sizes
around all powers of two; and the same of a journal of a thousand changes. Leaves what it saw as JSON
lines for a verifier in Go.

  verify.py BINARY KEY_FILE LINES_FILE
"""

import base64
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import grpc

import evidence
from client import Caller, Refusal, methods
from server import Server

RECORDS = 100_000
BATCH = 1_000
HERE = "accounts/acme/regions/eu-1"
# Nobody made it: it is denied, and recorded.
CHANGES = 1_000
CHECK = {
    "accessPoint": f"{HERE}/accessPoints/nothing",
    "action": "GetSecretValue",
    "resource": "secret/nothing",
    "instance": "nothing",
}


class Log:
    """A server's log, which grows by checks."""

    def __init__(self, server):
        self.server = server
        self.methods = methods()
        self.last = 0

    def call(self, caller, method, request):
        caller = Caller(self.channel, self.server.tokens[caller])
        answered = caller.call(self.methods[method], request)
        assert not isinstance(answered, Refusal), answered
        return answered

    def start(self):
        self.server.start()
        self.channel = grpc.insecure_channel(self.server.address)

    def stop(self):
        self.channel.close()
        self.server.stop()

    def check(self, count):
        """Has so many checks decided."""
        method = "AuthorizationService/BatchCheckAccess"
        while count > 0:
            checks = [CHECK] * min(count, BATCH)
            answered = self.call("enforcer", method, {"parent": HERE, "checks": checks})
            self.last = answered.results[-1].receipt.sequence
            count -= len(checks)

    def grow_to(self, size):
        """Has the log have exactly so many records."""
        self.check(1)
        self.check(size - self.last)
        assert self.last == size, (self.last, size)

    def checkpoint(self, **which):
        return self.call("eyes", "AuditService/GetCheckpoint", which)


def grow(log):
    """Lets the log grow; returns the sizes at which something was signed."""
    sizes = []
    for power in range(8, 17):
        # The stop's record is one before the power, the start's at it, and one check behind it.
        log.grow_to(2**power - 2)
        log.stop()
        log.start()
        log.check(1)
        assert log.last == 2**power + 1, (log.last, power)
        log.checkpoint(atLeastSize=log.last)
        sizes += [2**power - 1, 2**power, 2**power + 1]
    log.grow_to(RECORDS)
    log.checkpoint(atLeastSize=RECORDS)
    return sizes


def aap(log, *arguments):
    command = [log.server.binary, "audit", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={})
    assert done.returncode == 0, (arguments, done)
    return done.stdout


def compare(log, tree, notes, lines):
    """Every proof that the server makes is that of the definition."""
    chance = random.Random(7)
    sizes = sorted(notes)
    for size in sizes:
        lines.append({"Note": notes[size]})
        places = {0, size // 2, size - 1, *(chance.randrange(size) for _ in range(3))}
        for index in sorted(places):
            asked = {"sequence": index + 1, "checkpointSize": size}
            proof = log.call("eyes", "AuditService/GetInclusionProof", asked)
            assert list(proof.hashes) == tree.path(index, 0, size), (index, size)
            assert proof.leaf_hash == tree.leaves[index]
            lines.append(
                {
                    "Note": proof.checkpoint.note,
                    "Index": index,
                    "LeafHash": base64.b64encode(proof.leaf_hash).decode(),
                    "Hashes": [base64.b64encode(hash).decode() for hash in proof.hashes],
                }
            )
    pairs = set(zip(sizes, sizes[1:])) | {(size, sizes[-1]) for size in sizes}
    for old, new in sorted(pairs):
        asked = {"fromSize": old, "toSize": new}
        proof = log.call("eyes", "AuditService/GetConsistencyProof", asked)
        assert list(proof.hashes) == tree.growth(old, 0, new), (old, new)
        note = getattr(proof, "from").note
        hashes = [base64.b64encode(hash).decode() for hash in proof.hashes]
        lines.append({"Note": proof.to.note, "OldNote": note, "Hashes": hashes})
    print(f"{len(sizes)} roots, {len(lines) - len(sizes)} proofs agree, over {sizes[-1]} records")


def change(log, count):
    """Makes so many changes, a few at a time; returns the sizes at which something was signed."""
    sizes, made = set(), 0
    while made < count:
        rules = range(made, min(made + 1 + made // 3, count))
        creations = [
            {
                "createNetworkRule": {
                    "parent": HERE,
                    "networkRuleId": f"n{number}",
                    "networkRule": {"publicNetwork": {}, "addresses": ["10.0.0.0/8"]},
                }
            }
            for number in rules
        ]
        asked = {"parent": "accounts/acme", "changes": creations}
        made = int(log.call("admin", "ChangeService/ApplyChanges", asked).changes[-1].revision)
        signed = log.call("admin", "ChangeService/GetChangeCheckpoint", {"atLeastSize": made})
        sizes.add(signed.size)
    return sorted(sizes)


def compare_changes(log, scratch):
    """The journal's roots and proofs are those of the definition, over the bytes that it gives."""
    sizes = change(log, CHANGES)
    exported = scratch / "changes"
    environment = {
        "AAP_SERVER": f"http://{log.server.address}",
        "AAP_TOKEN": log.server.tokens["admin"],
        "AAP_ACCOUNT": "acme",
    }
    command = [log.server.binary, "changes", "export", "--all-accounts", "--to", str(exported)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done
    note, events = evidence.read_changes(exported)
    tree = evidence.Tree([evidence.leaf_hash(event) for event in events])
    last = len(events)
    assert evidence.statement(note)[1:] == (last, tree.root(0, last)) and last >= CHANGES
    for size in sizes:
        signed = log.call("admin", "ChangeService/GetChangeCheckpoint", {"size": size})
        origin, stated, root = evidence.statement(signed.note)
        assert origin.endswith("/journal") and (stated, root) == (size, tree.root(0, size)), size
        for index in {0, size // 2, size - 1}:
            asked = {"revision": index + 1, "checkpointSize": size}
            proof = log.call("admin", "ChangeService/GetChangeInclusionProof", asked)
            assert list(proof.hashes) == tree.path(index, 0, size), (index, size)
            assert proof.leaf_hash == tree.leaves[index]
        asked = {"fromSize": size, "toSize": last}
        proof = log.call("admin", "ChangeService/GetChangeConsistencyProof", asked)
        assert list(proof.hashes) == tree.growth(size, 0, last), size
    data = str(log.server.path / "data")
    key = subprocess.run(
        [log.server.binary, "changes", "key", "--data-dir", data],
        capture_output=True, text=True, env={}, check=True,
    ).stdout.strip()
    command = [log.server.binary, "changes", "verify", "--export", str(exported), "--public-key", key]
    done = subprocess.run(command, capture_output=True, text=True, env={})
    assert done.returncode == 0, done
    print(f"{len(sizes)} roots of the journal and their proofs agree, over {last} changes")


def main(binary, key_file, lines_file):
    server = Server(binary)
    try:
        log = Log(server)
        log.start()
        sizes = grow(log)
        data = str(server.path / "data")
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            # While the server runs.
            for form in ["binary", "json"]:
                aap(log, "export", "--data-dir", data, "--to", str(scratch / form), "--form", form)
            note, records = evidence.read_binary(scratch / "binary")
            as_json = evidence.read_json(scratch / "json")
            assert len(records) >= RECORDS and as_json[1][: len(records)] == records
            tree = evidence.Tree([evidence.leaf_hash(record) for record in records])
            notes = {size: log.checkpoint(size=size).note for size in sizes}
            notes[len(records)] = note
            for size, kept in notes.items():
                origin, stated, root = evidence.statement(kept)
                assert (stated, root) == (size, tree.root(0, size)), size
            lines = []
            compare(log, tree, notes, lines)
            pathlib.Path(lines_file).write_text("".join(json.dumps(line) + "\n" for line in lines))
            key = aap(log, "key", "--data-dir", data).strip()
            pathlib.Path(key_file).write_text(key)
            against = []
            for size, kept in notes.items():
                (scratch / f"{size}.txt").write_text(kept)
                against += ["--against", str(scratch / f"{size}.txt")]
            for form in ["binary", "json"]:
                told = aap(log, "verify", "--export", str(scratch / form), "--public-key", key, *against)
            print(told.splitlines()[1])
            aap(log, "verify", "--data-dir", data, "--public-key", key, *against)
            compare_changes(log, scratch)
        log.stop()
    finally:
        server.kill()


main(*sys.argv[1:])
