"""The Merkle tree of RFC 9162, section 2.1, and exports of the audit log, by hashlib alone.

Written from the definitions, without a look at the server's code: roots and proofs are those of the
recursion in the RFC. It knows no gRPC and no protobuf.
"""

import base64
import hashlib
import json
import struct


def leaf_hash(content):
    return hashlib.sha256(b"\0" + content).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """A tree over leaves whose hashes are known."""

    def __init__(self, leaves):
        self.leaves = leaves
        self.known = {}

    def root(self, begin, end):
        """MTH(D[begin:end])."""
        size = end - begin
        if size == 0:
            return hashlib.sha256().digest()
        if size == 1:
            return self.leaves[begin]
        # Only what doesn't change as the tree grows is worth remembering.
        complete = size & (size - 1) == 0
        if complete and (begin, end) in self.known:
            return self.known[begin, end]
        middle = begin + split(size)
        hash = node_hash(self.root(begin, middle), self.root(middle, end))
        if complete:
            self.known[begin, end] = hash
        return hash

    def path(self, index, begin, end):
        """PATH(m, D[begin:end]), where m counts from the beginning of all leaves."""
        if end - begin == 1:
            return []
        middle = begin + split(end - begin)
        if index < middle:
            return self.path(index, begin, middle) + [self.root(middle, end)]
        return self.path(index, middle, end) + [self.root(begin, middle)]

    def growth(self, old, begin, end, whole=True):
        """SUBPROOF(m, D[begin:end], b), where m counts from the beginning of all leaves."""
        if old == end:
            return [] if whole else [self.root(begin, end)]
        middle = begin + split(end - begin)
        if old <= middle:
            return self.growth(old, begin, middle, whole) + [self.root(middle, end)]
        return self.growth(old, middle, end, False) + [self.root(begin, middle)]


def split(size):
    """The largest power of two less than a size."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def statement(note):
    """The origin, the size and the root that a checkpoint states. Its signature isn't looked at."""
    text, signatures = note.split("\n\n", 1)
    origin, size, root = text.split("\n")
    assert signatures.startswith(f"\N{EM DASH} {origin} "), note
    return origin, int(size), base64.b64decode(root, validate=True)


def read_binary(path):
    """The checkpoint's note and every record's bytes of an export of a whole log."""
    with open(path, "rb") as file:
        content = file.read()
    assert content[:8] == b"AAPEXP1\n"
    place, note, records = 8, None, []
    while place < len(content):
        kind, length = struct.unpack_from("<cI", content, place)
        part = content[place + 5 : place + 5 + length]
        assert len(part) == length, "cut off"
        place += 5 + length
        if kind == b"C":
            note = part.decode()
        elif kind == b"S":
            assert json.loads(part) == {"of": "log"}
        elif kind == b"F":
            assert struct.unpack("<Q", part) == (1,)
        elif kind == b"R":
            records.append(part[8:])
            assert struct.unpack_from("<Q", part) == (len(records),)
        elif kind == b"Z":
            assert struct.unpack("<Q", part) == (len(records),)
            assert place == len(content)
            return note, records
        else:
            raise ValueError(f"a part of kind {kind}")
    raise ValueError("cut off")


def read_changes(path):
    """The checkpoint's note and every event's bytes of an export of a whole journal."""
    with open(path, encoding="utf-8") as file:
        head, *lines, end = [json.loads(line) for line in file]
    assert head["scope"] == {"of": "journal"} and end == {"changes": len(lines)}
    events = []
    for number, line in enumerate(lines, 1):
        event = base64.b64decode(line["serialized_event"], validate=True)
        assert line["revision"] == number and line["change"]["revision"] == str(number)
        assert base64.b64decode(line["leaf_hash"]) == leaf_hash(event)
        events.append(event)
    return head["checkpoint"], events


def read_json(path):
    """The same of an export as JSON lines."""
    with open(path, encoding="utf-8") as file:
        head, *lines, end = [json.loads(line) for line in file]
    assert head["scope"] == {"of": "log"} and end == {"records": len(lines)}
    records = []
    for number, line in enumerate(lines, 1):
        record = base64.b64decode(line["serialized_record"], validate=True)
        assert line["sequence"] == number
        assert base64.b64decode(line["leaf_hash"]) == leaf_hash(record)
        # What is shown is the record too.
        assert line["record"]["sequence"] == str(number)
        records.append(record)
    return head["checkpoint"], records
