"""Follows both logs across a restart: everything comes once, in order, and is what it says it is."""

import hashlib
import io
import json
import tarfile

import grpc

from client import Caller, methods, refusal

HERE = "accounts/acme/regions/eu-1"


class Follower:
    """An open watch that checks each message against the one before it."""

    def __init__(self, caller, method, request):
        self.messages = caller.open(methods()[method], request)
        first = next(self.messages)
        self.through = first.scanned.through
        # The first message is empty, and says where the watch begins.
        assert getattr(first.scanned, "from") == self.through + 1, first

    def read_through(self, last):
        """All messages up to the one that accounts for a place."""
        messages = []
        while self.through < last:
            message = next(self.messages)
            assert getattr(message.scanned, "from") == self.through + 1, message
            assert message.scanned.through >= self.through + 1, message
            self.through = message.scanned.through
            messages.append(message)
        return messages

    def end(self):
        """How the watch is ended by the server."""
        try:
            for _ in self.messages:
                pass
        except grpc.RpcError as error:
            return refusal(error)
        raise AssertionError("the watch ended without an error")


def connect(server, name):
    return Caller(grpc.insecure_channel(server.address), server.tokens[name])


def create_rule(admin, id):
    rule = {"publicNetwork": {}, "addresses": ["203.0.113.0/24"]}
    request = {"parent": HERE, "networkRuleId": id, "networkRule": rule}
    return admin.call(methods()["PolicyService/CreateNetworkRule"], request).revision


def check(enforcer):
    """Asks one check, whatever comes of it, and returns where its record is."""
    question = {"accessPoint": f"{HERE}/accessPoints/a", "action": "GetSecretValue",
                "resource": "secret/a", "instance": "shared"}
    request = {"parent": HERE, "check": question}
    return enforcer.call(methods()["AuthorizationService/CheckAccess"], request).receipt


def restart(server, watches):
    """Restarts the server; the watches that were open are told."""
    server.stop()
    for watch in watches:
        told = watch.end()
        assert (told.code, told.reason) == ("UNAVAILABLE", "SHUTTING_DOWN"), told
    server.start()


def run(server):
    admin, viewer = connect(server, "admin"), connect(server, "viewer")
    enforcer, eyes = connect(server, "enforcer"), connect(server, "eyes")
    parent = {"parent": "accounts/acme"}
    serialized = {"form": "RECORD_FORM_SERIALIZED"}

    changes = Follower(viewer, "ChangeService/WatchChanges", {**parent, "fromRevision": "1"})
    records = Follower(
        eyes, "AuditService/WatchAuditRecords", {**serialized, "fromSequence": "1"}
    )
    revision, receipt = create_rule(admin, "Before"), check(enforcer)
    seen_changes = changes.read_through(revision)
    seen_records = records.read_through(receipt.sequence)
    receipts = [receipt]
    restart(server, [changes, records])

    admin, viewer = connect(server, "admin"), connect(server, "viewer")
    enforcer, eyes = connect(server, "enforcer"), connect(server, "eyes")
    # What happens before the watches go on must not be lost to them either.
    create_rule(admin, "Between")
    receipts.append(check(enforcer))
    changes = Follower(
        viewer, "ChangeService/WatchChanges", {**parent, "fromRevision": str(changes.through + 1)}
    )
    records = Follower(
        eyes,
        "AuditService/WatchAuditRecords",
        {**serialized, "fromSequence": str(records.through + 1)},
    )
    revision, receipt = create_rule(admin, "After"), check(enforcer)
    receipts.append(receipt)
    seen_changes += changes.read_through(revision)
    seen_records += records.read_through(receipt.sequence)

    revisions = [change.revision for message in seen_changes for change in message.changes]
    # Nobody else has changed anything.
    assert revisions == list(range(1, revision + 1)), revisions
    print(f"ok: all {revision} changes came once and in order, across a restart")
    check_records([entry for message in seen_records for entry in message.entries], receipts)
    back_up(server)


def back_up(server):
    """Reads a whole backup, and holds it against its own digests by nothing but the standard library."""
    parts = list(connect(server, "operator").open(methods()["BackupService/StreamBackup"], {}))
    extent = parts[0].extent
    assert not parts[0].content and all(0 < len(part.content) <= 1 << 18 for part in parts[1:])
    with tarfile.open(fileobj=io.BytesIO(b"".join(part.content for part in parts))) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}
    sums = dict(reversed(line.split("  ")) for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    head = json.loads(files["backup.json"])
    assert head["journal"]["revision"] == extent.revision, head
    log = {"log_id": extent.log_id, "first": extent.first_sequence, "last": extent.last_sequence}
    assert head["logs"][-1] == log, head
    print(f"ok: a backup of {len(files)} files, through record {extent.last_sequence}")


def check_records(entries, receipts):
    sequences = [entry.sequence for entry in entries]
    assert sequences == list(range(1, receipts[-1].sequence + 1)), sequences
    for entry in entries:
        digest = hashlib.sha256(b"\x00" + entry.serialized_record).digest()
        assert digest == entry.leaf_hash, entry
    hashes = {entry.sequence: entry.leaf_hash for entry in entries}
    for receipt in receipts:
        assert receipt.durable and hashes[receipt.sequence] == receipt.leaf_hash, receipt
    print(f"ok: all {len(entries)} records came once and in order, and are what their hashes say")
