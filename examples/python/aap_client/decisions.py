"""Says decisions in words."""

from aap.v1.authorization_service_pb2 import CheckAccessResponse
from aap.v1.decision_pb2 import Decision, DecisionReason, Outcome

WORDS = {
    "ACCESS_POINT_NOT_FOUND": "there is no such access point",
    "ACCESS_POINT_SUSPENDED": "the access point is suspended",
    "SCOPE_NOT_COVERED": "no policy is for that instance",
    "ACTION_NOT_PERMITTED": "no policy permits the action",
    "RESOURCE_NOT_COVERED": "no policy covers the resource",
    "NETWORK_NOT_ALLOWED": "no network rule matches where the call came from",
    "ROLE_NOT_TRUSTED": "the RAM role does not trust the environment",
    "CREDENTIAL_UNKNOWN": "there is no such client key any more",
    "CREDENTIAL_INVALID": "the session is not genuine, or was ended",
    "CREDENTIAL_DISABLED": "the client key is disabled",
    "CREDENTIAL_NOT_YET_VALID": "the client key is not valid yet",
    "CREDENTIAL_EXPIRED": "the session or the client key has expired",
    "AUTHENTICATION_METHOD_MISMATCH": "the access point authenticates in another way",
}


def allows(decision: Decision) -> bool:
    """Whether a decision allows; whatever isn't known doesn't."""
    return decision.outcome == Outcome.OUTCOME_ALLOW


def is_about_the_credential(decision: Decision) -> bool:
    """Whether a denial is about the session, so that a new one might help."""
    return reason(decision).startswith("CREDENTIAL_")


def reason(decision: Decision) -> str:
    """The reason's name without its prefix, or the number of one that is newer than this program."""
    if decision.reason not in DecisionReason.values():
        return str(decision.reason)
    return DecisionReason.Name(decision.reason).removeprefix("DECISION_REASON_")


def in_words(answer: CheckAccessResponse) -> str:
    """Says an answer: what was decided, why, and where the record of it is."""
    decision = answer.decision
    if allows(decision):
        said = f"allowed: the policy {short(decision.policy)} grants it"
        if decision.network_rule:
            said += f" by the network rule {short(decision.network_rule)}"
    else:
        why = WORDS.get(reason(decision), "for a reason that this program does not know")
        said = f"denied: {why}"
        if decision.nearest_policy:
            said += f"; the nearest policy is {short(decision.nearest_policy)}"
    return f"{said} ({reason(decision)}, record {answer.receipt.sequence})"


def short(name: str) -> str:
    """A resource's id, from its name."""
    return name.rpartition("/")[2]
