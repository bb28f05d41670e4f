"""What is asked of each method, and what must come of it: data, in the order in which it is asked.

A request is JSON as protobuf reads it; where it depends on what was answered before, it is a function
of that (by the name that the case gave its answer). What an answer must have is a part of it.
"""

import dataclasses
import json
import typing

HERE = "accounts/acme/regions/eu-1"
NOWHERE = "accounts/nobody/regions/eu-1"
RULE = f"{HERE}/networkRules/Office"
POLICY = f"{HERE}/policies/Reports"
APP = f"{HERE}/accessPoints/reports"
ON_ECS = f"{HERE}/accessPoints/on-ecs"
ROLE = "accounts/acme/ramRoles/ReportsRole"
MISSING_APP = f"{APP}s"
MISSING_KEY = f"{APP}/clientKeys/none"
# By a key that nobody has any more.
CSR = """\
-----BEGIN CERTIFICATE REQUEST-----
MIHMMHQCAQAwEjEQMA4GA1UEAwwHZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABF9ZcOFaGSmituFDCIn3htxnUFJQI4ct1nyzrKlOkhpLU91THTcA4Xu6
9X4OZ4wK/vAZvWMcak/J/L3UNufqeYmgADAKBggqhkjOPQQDAgNIADBFAiAoi9sc
DvnWYqaYB5CitHsJyySim5hkjmJTwFRGF3WGgQIhALNP8KgL2HTiY5gsngsazj+8
ARFJ6CTZ8ppAK4ZW/Lzy
-----END CERTIFICATE REQUEST-----
"""


@dataclasses.dataclass
class Case:
    """One call. Its kind says which demand on its method it meets."""

    method: str
    kind: str
    caller: str
    request: typing.Any
    # A part of the answer, or code, reason, metadata of a refusal.
    answer: typing.Any = None
    refusal: typing.Any = None
    # The further details that a refusal must have.
    details: tuple = ()
    # What later cases call the answer.
    name: str = ""


def happy(method, caller, request, answer, name=""):
    return Case(method, "happy", caller, request, answer=answer, name=name)


def missing(method, caller, request, resource, kind="missing", details=()):
    refusal = ("NOT_FOUND", "RESOURCE_NOT_FOUND", {"resource": resource})
    return Case(method, kind, caller, request, refusal=refusal, details=details)


def foreign(method, request, resource, caller="other-admin", details=()):
    return missing(method, caller, request, resource, "foreign", details)


def refused(method, kind, request, code, reason, metadata, details=(), caller="admin"):
    refusal = (code, reason, metadata)
    return Case(method, kind, caller, request, refusal=refusal, details=details)


def exists(method, request, resource):
    metadata = {"resource": resource}
    return refused(
        method, "exists", request, "ALREADY_EXISTS", "RESOURCE_ALREADY_EXISTS", metadata,
        ("ResourceInfo",),
    )


def stale(method, request, resource, named):
    """The etag is none that the resource has; the error tells the one that it has."""
    metadata = lambda seen: {"resource": resource, "etag": seen[named]["etag"]}
    return refused(
        method, "etag", request, "ABORTED", "ETAG_MISMATCH", metadata, ("ResourceInfo",)
    )


def reused(method, request, request_id):
    """The id was used with other content."""
    metadata = {"request_id": request_id}
    return refused(
        method, "reused", request, "FAILED_PRECONDITION", "REQUEST_ID_REUSED", metadata
    )


def in_use(method, request, resource, holders, details=("PreconditionFailure",)):
    metadata = {"resource": resource, "holders": str(holders)}
    return refused(
        method, "in_use", request, "FAILED_PRECONDITION", "RESOURCE_IN_USE", metadata, details
    )


RESOURCE = ("ResourceInfo",)


def rule(**fields):
    return {"publicNetwork": {}, "addresses": ["203.0.113.0/24"], **fields}


def policy(**fields):
    return {
        "scope": "shared",
        "permissions": ["PERMISSION_TEMPLATE_SECRET_USER"],
        "resources": ["secret/reports/*"],
        "networkRules": {"names": [RULE]},
        **fields,
    }


def access_point(**fields):
    return {"clientKey": {}, "policies": [POLICY], **fields}


def ram_role(**fields):
    """A role that instances may assume."""
    trust = {
        "Action": "sts:AssumeRole",
        "Effect": "Allow",
        "Principal": {"Service": ["ecs.aliyuncs.com"]},
    }
    return {"trustPolicy": json.dumps({"Version": "1", "Statement": [trust]}), **fields}


def creating(service, kind, name, make):
    """A resource's creation, by the words that its messages are made of."""
    field, method = kind[0].lower() + kind[1:], f"{service}/Create{kind}"
    parent, collection, id = name.rsplit("/", 2)
    request_id, nowhere = f"create-{collection}", parent.replace("acme", "nobody")

    def create(id, parent=parent, request_id="", **fields):
        return {
            "parent": parent,
            f"{field}Id": id,
            field: make(**fields),
            "requestId": request_id,
        }

    first = create(id, request_id=request_id)
    return [
        happy(method, "admin", first, {"name": name, "revision": ...}, name=collection),
        happy(method, "admin", first, lambda seen: seen[collection]),
        reused(method, {**first, field: make(description="other")}, request_id),
        exists(method, create(id), name),
        missing(method, "admin", create(id, parent=nowhere), nowhere),
        foreign(method, create(id), parent),
        refused(
            method, "invalid", create("no spaces"), "INVALID_ARGUMENT", "INVALID_FIELDS",
            {"violations": "1"}, ("BadRequest",),
        ),
    ]


def reading(service, kind, plural, name):
    """A resource's reading and listing."""
    get, list_ = f"{service}/Get{kind}", f"{service}/List{plural}"
    parent, collection, _ = name.rsplit("/", 2)
    nowhere = parent.replace("acme", "nobody")
    gone, listed = f"{name}s", plural[0].lower() + plural[1:]
    all_of_it = lambda seen: {listed: [seen[collection]]}
    return [
        happy(get, "admin", {"name": name}, lambda seen: seen[collection]),
        happy(get, "viewer", {"name": name}, lambda seen: seen[collection]),
        missing(get, "viewer", {"name": gone}, gone, details=RESOURCE),
        foreign(get, {"name": name}, name, details=RESOURCE),
        happy(list_, "admin", {"parent": parent}, all_of_it),
        happy(list_, "viewer", {"parent": parent, "pageSize": 1}, all_of_it),
        missing(list_, "viewer", {"parent": nowhere}, nowhere),
        foreign(list_, {"parent": parent}, parent),
    ]


def changing(service, kind, name):
    """A resource's update. Its description is changed."""
    field, method = kind[0].lower() + kind[1:], f"{service}/Update{kind}"
    collection = name.rsplit("/", 2)[1]
    request_id = f"update-{collection}"

    def update(description, name=name, request_id="", etag=""):
        resource = {"name": name, "description": description, "etag": etag}
        return {field: resource, "updateMask": "description", "requestId": request_id}

    first, gone = update("Changed", request_id=request_id), f"{name}s"
    return [
        happy(method, "admin", first, {"name": name, "description": "Changed"}, name=collection),
        happy(method, "admin", first, lambda seen: seen[collection]),
        reused(method, update("Other", request_id=request_id), request_id),
        stale(method, update("Other", etag="0-0"), name, collection),
        missing(method, "admin", update("Other", name=gone), gone, details=RESOURCE),
        foreign(method, update("Other"), name, details=RESOURCE),
    ]


def refusing(method, name):
    """How a method refuses that names a resource and says no more about it."""
    gone, collection = f"{name}s", name.rsplit("/", 2)[1]
    return [
        stale(method, {"name": name, "etag": "0-0"}, name, collection),
        missing(method, "admin", {"name": gone}, gone, details=RESOURCE),
        foreign(method, {"name": name}, name, details=RESOURCE),
    ]


def doing(method, name, request_id, answer):
    """What such a method does, once and again. If it deletes, it has no answer."""
    first, collection = {"name": name, "requestId": request_id}, name.rsplit("/", 2)[1]
    again = (lambda seen: seen[collection]) if answer else {}
    return [
        happy(method, "admin", first, answer, name=collection if answer else ""),
        happy(method, "admin", first, again),
        reused(method, {**first, "etag": "0-0"}, request_id),
    ]


def question(**fields):
    return {
        "accessPoint": APP,
        "action": "GetSecretValue",
        "resource": "secret/reports/2025",
        "instance": "shared",
        "origin": {"publicNetwork": {}, "address": "203.0.113.7"},
        **fields,
    }


ALLOWED = {
    "decision": {
        "outcome": "OUTCOME_ALLOW",
        "reason": "DECISION_REASON_POLICY_GRANTS",
        "policy": POLICY,
        "networkRule": RULE,
        "rulesVersion": ...,
    },
    "receipt": {"logId": ..., "sequence": ..., "leafHash": ..., "durable": True},
}
DENIED = {
    "decision": {"outcome": "OUTCOME_DENY", "reason": "DECISION_REASON_NETWORK_NOT_ALLOWED"},
    "receipt": {"durable": True},
}
OUTSIDE = {"publicNetwork": {}, "address": "198.51.100.9"}


def asking(method, name, of, answered):
    """A method that asks checks: `of` makes its request from a check, `answered` the answer."""
    no_assertion = ("PERMISSION_DENIED", "IDENTITY_ASSERTION_NOT_ALLOWED", {"caller": "gateway"})
    return [
        happy(method, "enforcer", of(question()), answered(ALLOWED), name=name),
        happy(method, "enforcer", of(question(origin=OUTSIDE)), answered(DENIED)),
        Case(method, "foreign", "other-enforcer", of(question()), refusal=(
            "PERMISSION_DENIED", "ACCOUNT_NOT_BOUND",
            {"caller": "other-enforcer", "account": "acme"},
        )),
        Case(method, "missing", "other-enforcer", of(question(), NOWHERE), refusal=(
            "PERMISSION_DENIED", "ACCOUNT_NOT_BOUND",
            {"caller": "other-enforcer", "account": "nobody"},
        )),
        Case(method, "assertion", "gateway", of(question()), refusal=no_assertion),
    ]


def failed(code, reason):
    """A check on a stream that was not decided."""
    return {"results": [{"correlationId": "7", "failed": {"code": code, "reason": reason}}]}


def streaming(method):
    """The stream of checks: what a call would be refused with stands in the answer's place."""
    of = lambda check, parent=HERE: [
        {"parent": parent, "checks": [{"correlationId": "7", "check": check}]}
    ]
    answered = lambda part: {"results": [{"correlationId": "7", "decided": part}]}
    not_bound = failed(7, "ERROR_REASON_ACCOUNT_NOT_BOUND")
    return [
        happy(method, "enforcer", of(question()), answered(ALLOWED)),
        happy(method, "enforcer", of(question(origin=OUTSIDE)), answered(DENIED)),
        Case(method, "foreign", "other-enforcer", of(question()), answer=not_bound),
        Case(method, "missing", "other-enforcer", of(question(), NOWHERE), answer=not_bound),
        Case(
            method, "assertion", "gateway", of(question()),
            answer=failed(7, "ERROR_REASON_IDENTITY_ASSERTION_NOT_ALLOWED"),
        ),
    ]


def applying():
    """Many changes at once."""
    method, request_id = "ChangeService/ApplyChanges", "apply"
    names = ["One", "Two"]

    def apply(*changes, parent="accounts/acme", request_id=""):
        return {"parent": parent, "changes": list(changes), "requestId": request_id}

    def create(id):
        return {
            "createPolicy": {"parent": HERE, "policyId": id, "policy": policy()},
        }

    first = apply(*map(create, names), request_id=request_id)
    made = [{"revision": ..., "policyCreated": {"name": f"{HERE}/policies/{id}"}} for id in names]
    gone = f"{HERE}/policies/gone"
    return [
        happy(method, "admin", first, {"changes": made}, name="apply"),
        happy(method, "admin", first, lambda seen: seen["apply"]),
        reused(method, apply(create("Three"), request_id=request_id), request_id),
        refused(
            method, "exists", apply(create("Three"), create("One")), "ALREADY_EXISTS",
            "RESOURCE_ALREADY_EXISTS", {"resource": f"{HERE}/policies/One", "change": "1"},
            RESOURCE,
        ),
        refused(
            method, "etag",
            apply({"deletePolicy": {"name": f"{HERE}/policies/One", "etag": "0-0"}}),
            "ABORTED", "ETAG_MISMATCH",
            lambda seen: {
                "resource": f"{HERE}/policies/One",
                "etag": seen["apply"]["changes"][0]["policyCreated"]["etag"],
                "change": "0",
            },
            RESOURCE,
        ),
        refused(
            method, "in_use", apply({"deleteNetworkRule": {"name": RULE}}),
            "FAILED_PRECONDITION", "RESOURCE_IN_USE",
            {"resource": RULE, "holders": "3", "change": "0"}, ("PreconditionFailure",),
        ),
        refused(
            method, "missing", apply({"deletePolicy": {"name": gone}}),
            "NOT_FOUND", "RESOURCE_NOT_FOUND", {"resource": gone, "change": "0"}, RESOURCE,
        ),
        missing(
            method, "admin", apply(create("Three"), parent="accounts/nobody"), "accounts/nobody"
        ),
        foreign(method, apply(create("Three")), "accounts/acme"),
        happy(
            method, "admin",
            apply(*({"deletePolicy": {"name": f"{HERE}/policies/{id}"}} for id in names)),
            {"changes": [{"policyDeleted": {"name": f"{HERE}/policies/{id}"}} for id in names]},
        ),
    ]


def history():
    """What was changed."""
    list_, watch = "ChangeService/ListChanges", "ChangeService/WatchChanges"
    start = {"fromRevision": "1"}
    of_rule = {"parent": "accounts/acme", "resource": RULE, "pageSize": 1}
    updated = {"changes": [{"actor": "admin", "networkRuleUpdated": {"name": RULE}}]}
    return [
        happy(list_, "admin", of_rule, updated),
        happy(list_, "viewer", of_rule, updated),
        missing(list_, "viewer", {"parent": "accounts/nobody"}, "accounts/nobody"),
        foreign(list_, {"parent": "accounts/acme"}, "accounts/acme"),
        # The first message says where the watch begins.
        happy(watch, "admin", {"parent": "accounts/acme", **start}, {"scanned": {"from": "1"}}),
        happy(watch, "viewer", {"parent": "accounts/acme", **start}, {"scanned": {"from": "1"}}),
        missing(watch, "viewer", {"parent": "accounts/nobody", **start}, "accounts/nobody"),
        foreign(watch, {"parent": "accounts/acme", **start}, "accounts/acme"),
        happy(
            list_, "viewer", {**of_rule, "form": "CHANGE_FORM_SERIALIZED"},
            {"changes": [{"revision": ..., "serializedEvent": ...}]},
        ),
        *proofs_of_changes(),
    ]


def proofs_of_changes():
    checkpoint, inclusion = "ChangeService/GetChangeCheckpoint", "GetChangeInclusionProof"
    inclusion, consistency = f"ChangeService/{inclusion}", "ChangeService/GetChangeConsistencyProof"
    no_checkpoint = ("NOT_FOUND", "CHECKPOINT_NOT_FOUND", {"size": "1000000"})
    not_found = ("NOT_FOUND", "RESOURCE_NOT_FOUND", {"resource": "change 1"})
    first = {"revision": "1", "checkpointSize": "1"}
    from_it = lambda seen: {"fromSize": seen["journal"]["size"]}
    signed = {"note": ..., "rootHash": ..., "signTime": ..., "verifierKey": ...}
    return [
        happy(checkpoint, "viewer", {"atLeastSize": "1"}, signed, "journal"),
        happy(checkpoint, "admin", {}, signed),
        refused(checkpoint, "missing", {"size": "1000000"}, *no_checkpoint, caller="viewer"),
        *(
            happy(inclusion, caller, {"revision": "1"}, {"revision": "1", "leafHash": ...})
            for caller in ["admin", "viewer"]
        ),
        missing(inclusion, "viewer", {"revision": "1000000"}, "change 1000000"),
        Case(inclusion, "foreign", "other-admin", first, refusal=not_found),
        *(happy(consistency, caller, from_it, {"from": {}, "to": {}}) for caller in ["admin", "viewer"]),
        refused(consistency, "missing", {"fromSize": "1000000"}, *no_checkpoint, caller="viewer"),
    ]


def evidence():
    """What was decided."""
    get, list_ = "AuditService/GetAuditRecord", "AuditService/ListAuditRecords"
    watch = "AuditService/WatchAuditRecords"
    of_check = lambda seen: {"sequence": seen["check"]["receipt"]["sequence"]}
    same = lambda seen: {
        "sequence": seen["check"]["receipt"]["sequence"],
        "leafHash": seen["check"]["receipt"]["leafHash"],
        "record": {"account": "acme", "caller": "enforcer"},
    }
    record = lambda seen: {"resource": f"audit record {seen['check']['receipt']['sequence']}"}
    not_found = ("NOT_FOUND", "RESOURCE_NOT_FOUND")
    checkpoint, inclusion = "AuditService/GetCheckpoint", "AuditService/GetInclusionProof"
    consistency = "AuditService/GetConsistencyProof"
    covering = lambda seen: {"atLeastSize": seen["check"]["receipt"]["sequence"]}
    proved = lambda seen: {
        "sequence": seen["check"]["receipt"]["sequence"],
        "leafHash": seen["check"]["receipt"]["leafHash"],
        "checkpoint": {"note": ...},
    }
    no_checkpoint = ("NOT_FOUND", "CHECKPOINT_NOT_FOUND", {"size": "1000000"})
    return [
        happy(checkpoint, "auditor", covering, {"note": ..., "rootHash": ..., "logId": ...}),
        happy(checkpoint, "other-auditor", {"size": "1"}, {"size": "1", "verifierKey": ...}),
        refused(checkpoint, "missing", {"size": "1000000"}, *no_checkpoint, caller="auditor"),
        happy(inclusion, "auditor", of_check, proved),
        missing(inclusion, "auditor", {"sequence": "1000000"}, "audit record 1000000"),
        Case(inclusion, "foreign", "other-auditor", of_check, refusal=(*not_found, record)),
        happy(consistency, "auditor", {"fromSize": "1"}, {"from": {"size": "1"}, "to": {}}),
        happy(consistency, "other-auditor", {"fromSize": "1"}, {"from": {"size": "1"}}),
        refused(consistency, "missing", {"fromSize": "1000000"}, *no_checkpoint, caller="auditor"),
        happy(get, "auditor", of_check, same),
        missing(get, "auditor", {"sequence": "1000000"}, "audit record 1000000"),
        Case(get, "foreign", "other-auditor", of_check, refusal=(*not_found, record)),
        happy(
            list_, "auditor", {"filter": {"actions": ["GetSecretValue"]}, "pageSize": 1},
            {"entries": [{"record": {"account": "acme"}}], "nextPageToken": ..., "logId": ...},
        ),
        happy(list_, "other-auditor", {"filter": {"accounts": ["other"]}}, {"logId": ...}),
        happy(watch, "auditor", {"fromSequence": "1"}, {"logId": ..., "scanned": {"from": "1"}}),
        refused(
            watch, "missing", {"fromSequence": "1000000"}, "OUT_OF_RANGE", "SEQUENCE_OUT_OF_RANGE",
            {"sequence": "1000000", "first": "1", "last": ...}, caller="auditor",
        ),
    ]


def backups():
    """Everything in one file, of which an operator gets the beginning here: see `streams.py`."""
    extent = {"revision": ..., "logId": ..., "firstSequence": "1", "lastSequence": ...}
    return [happy("BackupService/StreamBackup", "operator", {}, {"extent": extent})]


def cursors():
    """A place in the log that the server keeps."""
    create, get = "AuditService/CreateAuditCursor", "AuditService/GetAuditCursor"
    list_, delete = "AuditService/ListAuditCursors", "AuditService/DeleteAuditCursor"
    read, acknowledge = "AuditService/ReadAuditCursor", "AuditService/AcknowledgeAuditCursor"
    home, elsewhere = "accounts/acme/auditCursors", "accounts/nobody/auditCursors"
    name, none = f"{home}/siem", f"{home}/none"
    first = {
        "parent": "accounts/acme",
        "auditCursorId": "siem",
        "auditCursor": {"filter": {"actions": ["GetSecretValue"]}},
        "fromSequence": "1",
        "requestId": "create-cursor",
    }
    again = {**first, "requestId": ""}
    other = {**first, "fromEnd": {}}
    del other["fromSequence"]
    taken = ("ALREADY_EXISTS", "RESOURCE_ALREADY_EXISTS", {"resource": name}, RESOURCE)
    reused_id = ("FAILED_PRECONDITION", "REQUEST_ID_REUSED", {"request_id": "create-cursor"})
    token = lambda seen: seen["reading"]["leaseToken"]
    under = lambda of, through: lambda seen: {
        "name": of, "leaseToken": token(seen), "through": through,
    }
    not_sent = {"audit_cursor": name, "through": "1000000", "sent_through": ...}
    release = lambda seen: {"name": name, "leaseToken": token(seen), "release": True}
    over = ("ABORTED", "AUDIT_CURSOR_LEASE_LOST", {"audit_cursor": name})
    place = {"startSequence": "1", "logId": ...}
    return [
        happy(create, "auditor", first, {"name": name, "uid": ..., **place}, name="cursor"),
        happy(create, "auditor", first, lambda seen: seen["cursor"]),
        happy(create, "eyes", {"auditCursorId": "all", "fromEnd": {}}, {"name": "auditCursors/all"}),
        refused(create, "reused", other, *reused_id, caller="auditor"),
        refused(create, "exists", again, *taken, caller="auditor"),
        missing(create, "auditor", {**again, "parent": "accounts/nobody"}, elsewhere),
        foreign(create, again, home, "other-auditor"),
        foreign(create, {"auditCursorId": "c"}, "auditCursors", "auditor"),
        happy(get, "auditor", {"name": name}, {"filter": {"actions": ["GetSecretValue"]}}),
        missing(get, "auditor", {"name": none}, none, details=RESOURCE),
        foreign(get, {"name": name}, name, "other-auditor", RESOURCE),
        foreign(get, {"name": "auditCursors/all"}, "auditCursors/all", "auditor", RESOURCE),
        happy(list_, "auditor", {"parent": "accounts/acme"}, {"auditCursors": [{"name": name}]}),
        happy(list_, "eyes", {}, {"auditCursors": [{"name": "auditCursors/all"}]}),
        missing(list_, "auditor", {"parent": "accounts/nobody"}, elsewhere),
        foreign(list_, {"parent": "accounts/acme"}, home, "other-auditor"),
        happy(
            read, "auditor", {"name": name},
            {"leaseToken": ..., "logId": ..., "scanned": {"from": "1"}}, name="reading",
        ),
        missing(read, "auditor", {"name": none}, none, details=RESOURCE),
        foreign(read, {"name": name}, name, "other-auditor", RESOURCE),
        refused(
            acknowledge, "ahead", under(name, "1000000"), "OUT_OF_RANGE", "AUDIT_CURSOR_NOT_SENT",
            not_sent, caller="auditor",
        ),
        happy(acknowledge, "auditor", release, {"logId": ...}),
        refused(acknowledge, "lost", under(name, "1"), *over, caller="auditor"),
        missing(acknowledge, "auditor", under(none, "1"), none, details=RESOURCE),
        foreign(acknowledge, under(name, "1"), name, "other-auditor", RESOURCE),
        missing(delete, "auditor", {"name": none}, none, details=RESOURCE),
        foreign(delete, {"name": name}, name, "other-auditor", RESOURCE),
        happy(delete, "auditor", {"name": name}, {}),
    ]


def deleting():
    """What others hold is refused, and then everything goes."""
    rules, policies = "PolicyService/DeleteNetworkRule", "PolicyService/DeletePolicy"
    access_points = "AccessPointService/DeleteAccessPoint"
    return [
        *refusing(rules, RULE),
        in_use(rules, {"name": RULE}, RULE, 1),
        *refusing(policies, POLICY),
        in_use(policies, {"name": POLICY}, POLICY, 1),
        *refusing(access_points, APP),
        *doing(access_points, APP, "delete-access-point", {}),
        *doing(policies, POLICY, "delete-policy", {}),
        *doing(rules, RULE, "delete-rule", {}),
    ]


def suspending():
    suspend = "AccessPointService/SuspendAccessPoint"
    resume = "AccessPointService/ResumeAccessPoint"
    revoke = "AccessPointService/RevokeSessions"
    suspended = {"name": APP, "state": "ACCESS_POINT_STATE_SUSPENDED"}
    active = {"name": APP, "state": "ACCESS_POINT_STATE_ACTIVE"}
    return [
        *refusing(suspend, APP),
        *doing(suspend, APP, "suspend", suspended),
        *refusing(resume, APP),
        *doing(resume, APP, "resume", active),
        *refusing(revoke, APP),
        *doing(revoke, APP, "revoke", active),
    ]


def holding():
    """What holds a role keeps it, and a role that doesn't trust an environment isn't held."""
    create, delete = "AccessPointService/CreateAccessPoint", "RamRoleService/DeleteRamRole"

    def on(trusted_role):
        authentication = {"trustedRole": f"TRUSTED_ROLE_{trusted_role}", "role": ROLE}
        access_point = {"ramRole": authentication, "policies": [POLICY]}
        return {"parent": HERE, "accessPointId": "on-ecs", "accessPoint": access_point}

    metadata = {"role": ROLE, "trusted_role": ..., "element": ..., "obstacle": ...}
    return [
        refused(
            create, "untrusted", on("FUNCTION_COMPUTE"), "FAILED_PRECONDITION", "ROLE_NOT_TRUSTED",
            metadata, ("PreconditionFailure",),
        ),
        happy(create, "admin", on("ECS_INSTANCE"), {"name": ON_ECS}),
        *refusing(delete, ROLE),
        in_use(delete, {"name": ROLE}, ROLE, 1),
        happy("AccessPointService/DeleteAccessPoint", "admin", {"name": ON_ECS}, {}),
        *doing(delete, ROLE, "delete-role", {}),
    ]


def client_keys():
    """Keys are made or bound, read, changed and deleted; their ids are the server's."""
    issue, bind, get, list_, enable, disable, delete = (
        f"AccessPointService/{name}ClientKey{plural}"
        for name, plural in [
            ("Issue", ""), ("Import", ""), ("Get", ""), ("List", "s"), ("Enable", ""),
            ("Disable", ""), ("Delete", ""),
        ]
    )
    session, check = "SessionService/CreateSession", "AuthorizationService/CheckAccess"
    by_session = {key: value for key, value in question().items() if key != "accessPoint"}
    by_session["session"] = "aaps_none"
    ec, app = "CLIENT_KEY_ALGORITHM_EC_P256", {"parent": APP}
    issuing = {**app, "algorithm": ec, "password": "correct-horse-7", "requestId": "issue-key"}
    binding = {**app, "signingRequestPem": CSR, "requestId": "bind-key"}
    issued = lambda seen: seen["issued"]["clientKey"]["name"]
    bound = lambda seen: seen["bound"]["name"]
    changed = lambda name, state: {"name": name, "state": f"CLIENT_KEY_STATE_{state}"}

    def states(method, request_id, state):
        """A method that names a key and says no more about it."""
        first = lambda seen: {"name": bound(seen), "requestId": request_id}
        answer = (lambda seen: changed(bound(seen), state)) if state else {}
        other = lambda seen: {**first(seen), "etag": "0-0"}
        metadata = lambda seen: {"resource": bound(seen), "etag": seen["bound"]["etag"]}
        wrong = [
            refused(
                method, "etag", lambda seen: {"name": bound(seen), "etag": "0-0"}, "ABORTED",
                "ETAG_MISMATCH", metadata, RESOURCE,
            ),
            missing(method, "admin", {"name": MISSING_KEY}, MISSING_KEY, details=RESOURCE),
            foreign(method, {"name": MISSING_KEY}, MISSING_KEY, details=RESOURCE),
        ]
        return [
            *wrong,
            happy(method, "admin", first, answer, name="bound" if state else ""),
            happy(method, "admin", first, answer),
            reused(method, other, request_id),
        ]

    return [
        happy(issue, "admin", issuing, {"clientKey": {"name": ...}, "pkcs12": ...}, name="issued"),
        refused(
            issue, "issued", issuing, "FAILED_PRECONDITION", "CLIENT_KEY_ISSUED_BEFORE",
            lambda seen: {"client_key": issued(seen)},
        ),
        reused(issue, {**issuing, "encoding": "CLIENT_KEY_ENCODING_COMPATIBLE"}, "issue-key"),
        missing(issue, "admin", {"parent": MISSING_APP}, MISSING_APP, details=RESOURCE),
        foreign(issue, app, APP, details=RESOURCE),
        happy(bind, "admin", binding, {"name": ...}, name="bound"),
        happy(bind, "admin", binding, lambda seen: seen["bound"]),
        refused(
            bind, "invalid", {**app, "signingRequestPem": "none"}, "INVALID_ARGUMENT",
            "INVALID_FIELDS", {"violations": "1"}, ("BadRequest",),
        ),
        reused(
            bind, {**binding, "notBeforeTime": "2026-01-01T00:00:00Z",
                   "notAfterTime": "2100-01-01T00:00:00Z"}, "bind-key",
        ),
        missing(
            bind, "admin", {"parent": MISSING_APP, "signingRequestPem": CSR}, MISSING_APP,
            details=RESOURCE,
        ),
        foreign(bind, {**app, "signingRequestPem": CSR}, APP, details=RESOURCE),
        happy(get, "viewer", lambda seen: {"name": bound(seen)}, lambda seen: seen["bound"]),
        happy(get, "admin", lambda seen: {"name": bound(seen)}, lambda seen: seen["bound"]),
        missing(get, "viewer", {"name": MISSING_KEY}, MISSING_KEY, details=RESOURCE),
        foreign(get, {"name": MISSING_KEY}, MISSING_KEY, details=RESOURCE),
        happy(list_, "viewer", app, {"clientKeys": ...}),
        happy(list_, "admin", app, {"clientKeys": ...}),
        missing(list_, "viewer", {"parent": MISSING_APP}, MISSING_APP, details=RESOURCE),
        foreign(list_, app, APP, details=RESOURCE),
        refused(
            session, "unproved", {"accessPoint": APP, "clientKeyAssertion": "a.b.c"},
            "UNAUTHENTICATED", "SESSION_REFUSED", {},
        ),
        refused(
            session, "invalid", {"accessPoint": APP, "lifetimeSeconds": -1}, "INVALID_ARGUMENT",
            "INVALID_FIELDS", {"violations": "2"}, ("BadRequest",),
        ),
        happy(
            check, "gateway", {"parent": HERE, "check": by_session},
            {"decision": {"reason": "DECISION_REASON_CREDENTIAL_INVALID"}},
        ),
        *states(disable, "disable-key", "DISABLED"),
        *states(enable, "enable-key", "ENABLED"),
        *states(delete, "delete-key", ""),
    ]


CASES = [
    *creating("PolicyService", "NetworkRule", RULE, rule),
    *creating("PolicyService", "Policy", POLICY, policy),
    *creating("RamRoleService", "RamRole", ROLE, ram_role),
    *creating("AccessPointService", "AccessPoint", APP, access_point),
    *reading("PolicyService", "NetworkRule", "NetworkRules", RULE),
    *reading("PolicyService", "Policy", "Policies", POLICY),
    *reading("RamRoleService", "RamRole", "RamRoles", ROLE),
    *reading("AccessPointService", "AccessPoint", "AccessPoints", APP),
    *changing("PolicyService", "NetworkRule", RULE),
    *changing("PolicyService", "Policy", POLICY),
    *changing("RamRoleService", "RamRole", ROLE),
    *changing("AccessPointService", "AccessPoint", APP),
    *suspending(),
    *client_keys(),
    *asking(
        "AuthorizationService/CheckAccess",
        "check",
        lambda check, parent=HERE: {"parent": parent, "check": check},
        lambda part: part,
    ),
    *asking(
        "AuthorizationService/BatchCheckAccess",
        "batch",
        lambda check, parent=HERE: {"parent": parent, "checks": [check, check]},
        lambda part: {"results": [part, part]},
    ),
    *streaming("AuthorizationService/StreamCheckAccess"),
    *applying(),
    *history(),
    *evidence(),
    *cursors(),
    *backups(),
    *holding(),
    *deleting(),
]
