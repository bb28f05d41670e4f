"""Goes through every method of the descriptor: each must have its cases, and each case must come out.

Besides the cases, every method is called by nobody and by every role that may not call it.
"""

import sys

import grpc
from google.protobuf import json_format

import streams
from cases import CASES
from client import Caller, Refusal, methods
from server import CALLERS, Server

ROLES = {name: role for name, role, _, _ in CALLERS}
# One of each role, and an enforcer that may not assert identities.
SOMEBODY = ["admin", "viewer", "enforcer", "gateway", "auditor", "operator"]
# What applications call, which are no callers and prove who they are themselves.
OPEN = ["SessionService/CreateSession"]
# Nothing can hold what this deletes.
NEVER_IN_USE = [
    "AccessPointService/DeleteAccessPoint",
    "AccessPointService/DeleteClientKey",
    "AuditService/DeleteAuditCursor",
]


def demanded(path, method):
    """The kinds of cases that a method must have, by what its messages have."""
    fields = method.input_type.fields_by_name
    updates = method.name.startswith("Update")
    kinds = {"happy"}
    if updates or "name" in fields or "parent" in fields:
        kinds |= {"missing", "foreign"}
    if updates or "etag" in fields:
        kinds.add("etag")
    if "request_id" in fields and "validate_only" in fields:
        kinds.add("reused")
    if method.name.startswith("Create"):
        kinds.add("exists")
    if method.name.startswith("Delete") and path not in NEVER_IN_USE:
        kinds.add("in_use")
    return kinds


def lacking():
    """What the cases lack, for all methods of the descriptor."""
    described = methods()
    kinds = {path: set() for path in described}
    for case in CASES:
        kinds[case.method].add(case.kind)
    return [
        f"{path}: {kind}"
        for path, method in described.items()
        if path not in OPEN
        for kind in sorted(demanded(path, method) - kinds[path])
    ]


def differences(expected, found, place=""):
    """Where something isn't what it must be; an expectation is a part of it, and `...` is anything."""
    if expected is ...:
        return [] if found is not None else [f"{place} is missing"]
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            one
            for key, value in expected.items()
            for one in differences(value, found.get(key), f"{place}.{key}")
        ]
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)):
        if len(expected) == len(found):
            pairs = enumerate(zip(expected, found))
            return [one for at, pair in pairs for one in differences(*pair, f"{place}[{at}]")]
    return [] if expected == found else [f"{place} is {found!r}, not {expected!r}"]


def wrong_with(answered, expected, details):
    """What is wrong with a refusal: code, reason, all of the metadata, and the details."""
    if not isinstance(answered, Refusal):
        return [f"it was answered: {answered}"]
    code, reason, metadata = expected
    wrong = differences([code, reason], [answered.code, answered.reason])
    wrong += differences(metadata, answered.metadata, "metadata")
    wrong += differences(sorted(metadata), sorted(answered.metadata), "metadata's keys")
    wrong += differences(sorted(details), sorted(answered.details), "details")
    return wrong


def given(value, seen):
    return value(seen) if callable(value) else value


def run(case, callers, seen):
    """Makes the call of a case; returns what is wrong with its answer."""
    request = given(case.request, seen)
    answered = callers[case.caller].call(methods()[case.method], request)
    if case.refusal is not None:
        code, reason, metadata = given(case.refusal, seen)
        return wrong_with(answered, (code, reason, given(metadata, seen)), case.details)
    if isinstance(answered, Refusal):
        return [f"it was refused: {answered}"]
    found = json_format.MessageToDict(answered)
    wrong = differences(given(case.answer, seen), found)
    if case.name and not wrong:
        seen[case.name] = found
    return wrong


def run_all(callers):
    seen, failures = {}, []
    for case in CASES:
        wrong = run(case, callers, seen)
        label = f"{case.method} ({case.kind}, by {case.caller})"
        print(f"{'FAILED' if wrong else 'ok'}: {label}")
        failures += [f"{label}: {one}" for one in wrong]
    return failures


def run_closed(channel, callers):
    """Every method is closed to nobody and to those whose role is another."""
    failures = []
    strangers = {"nobody": Caller(channel), "somebody": Caller(channel, "aap_wrong")}
    for path, method in methods().items():
        if path in OPEN:
            continue
        wrong = []
        for name, stranger in strangers.items():
            expected = ("UNAUTHENTICATED", "CALLER_UNAUTHENTICATED", {})
            answered = stranger.call(method, {})
            wrong += [f"{name}: {one}" for one in wrong_with(answered, expected, ())]
        admitted = {ROLES[case.caller] for case in CASES if (case.method, case.kind) == (path, "happy")}
        needed = "viewer" if "viewer" in admitted else min(admitted)
        for name in SOMEBODY:
            role = ROLES[name]
            if role in admitted:
                continue
            metadata = {
                "caller": name,
                "role": role,
                "required_role": needed,
                "method": f"/aap.v1.{path}",
            }
            expected = ("PERMISSION_DENIED", "ROLE_NOT_SUFFICIENT", metadata)
            answered = callers[name].call(method, {})
            wrong += [f"{name}: {one}" for one in wrong_with(answered, expected, ())]
        print(f"{'FAILED' if wrong else 'ok'}: {path} (unauthenticated, unauthorized)")
        failures += [f"{path}: {one}" for one in wrong]
    return failures


def main(binary):
    if lacking():
        sys.exit("\n".join(f"there is no case of {one}" for one in lacking()))
    failures, server = [], Server(binary)
    try:
        server.start()
        with grpc.insecure_channel(server.address) as channel:
            callers = {name: Caller(channel, token) for name, token in server.tokens.items()}
            failures += run_closed(channel, callers)
            failures += run_all(callers)
        streams.run(server)
        server.stop()
    finally:
        server.kill()
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    if failures:
        sys.exit(1)
    print(f"{len(CASES)} cases of all {len(methods())} methods came out as they must")


main(sys.argv[1])
