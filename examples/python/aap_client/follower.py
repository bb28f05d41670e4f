"""Follows the audit log into a file: every record once, in order, whatever is killed in between."""

import json
import logging
import os
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from aap.v1.audit_service_pb2 import WatchAuditRecordsRequest, WatchAuditRecordsResponse
from aap.v1.audit_service_pb2_grpc import AuditServiceStub
from aap_client.channel import bearer, describe

# What repeating the call does not change, so that a person must look. OUT_OF_RANGE: the records to
# go on with are no longer kept. FAILED_PRECONDITION: a new log has begun.
FINAL = {
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
}
PAUSE_SECONDS = 1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """How far a follower is: what it would go on with, and how much of its file is good."""

    log_id: str = ""
    next_sequence: int = 0
    bytes: int = 0


class Follower:
    """Appends records to `records.jsonl` in a directory, and keeps its place in `place.json`.

    The place is written after the records that it accounts for. So on a start, what the file has
    beyond it is cut off, and comes again.
    """

    def __init__(self, channel: grpc.Channel, token: str, directory: Path):
        self._stub = AuditServiceStub(channel)
        self._metadata = bearer(token)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._place_path = directory / "place.json"
        self._place = self._read_place()
        self._records = open(directory / "records.jsonl", "ab")
        if self._records.tell() < self._place.bytes:
            raise ValueError(f"{self._records.name} is shorter than {self._place_path} says")
        self._records.truncate(self._place.bytes)

    def run(self) -> None:
        """Follows for ever; raises `grpc.RpcError` where only a person can help."""
        while True:
            try:
                for message in self._watch():
                    self._take(message)
            except grpc.RpcError as error:
                if error.code() in FINAL:
                    raise
                log.warning("the watch has ended: %s", describe(error))
            time.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))

    def _watch(self):
        request = WatchAuditRecordsRequest(log_id=self._place.log_id)
        if self._place.log_id:
            request.from_sequence = self._place.next_sequence
        else:
            # The first record that is kept.
            request.from_time.CopyFrom(Timestamp())
        return self._stub.WatchAuditRecords(request, metadata=self._metadata)

    def _take(self, message: WatchAuditRecordsResponse) -> None:
        first, through = getattr(message.scanned, "from"), message.scanned.through
        if self._place.log_id and first != self._place.next_sequence:
            raise ValueError(f"the server goes on with {first}, not {self._place.next_sequence}")
        for entry in message.entries:
            # A record that is damaged on the server's disk has its place here all the same.
            line = json_format.MessageToDict(entry)
            self._records.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        if message.entries:
            self._records.flush()
            os.fdatasync(self._records.fileno())
        self._keep(Place(message.log_id, through + 1, self._records.tell()))

    def _keep(self, place: Place) -> None:
        """Replaces the file of the place, so that there is always a whole one."""
        if place == self._place:
            return
        new = self._place_path.with_suffix(".new")
        with open(new, "w") as file:
            json.dump(asdict(place), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._place_path)
        self._place = place

    def _read_place(self) -> Place:
        try:
            return Place(**json.loads(self._place_path.read_text()))
        except FileNotFoundError:
            return Place()
