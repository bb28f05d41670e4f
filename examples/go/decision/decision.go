// Package decision says decisions in words.
package decision

import (
	"fmt"
	"path"
	"strings"

	aapv1 "aap.example/client/gen/aap/v1"
)

var words = map[aapv1.DecisionReason]string{
	aapv1.DecisionReason_DECISION_REASON_ACCESS_POINT_NOT_FOUND:         "there is no such access point",
	aapv1.DecisionReason_DECISION_REASON_ACCESS_POINT_SUSPENDED:         "the access point is suspended",
	aapv1.DecisionReason_DECISION_REASON_SCOPE_NOT_COVERED:              "no policy is for that instance",
	aapv1.DecisionReason_DECISION_REASON_ACTION_NOT_PERMITTED:           "no policy permits the action",
	aapv1.DecisionReason_DECISION_REASON_RESOURCE_NOT_COVERED:           "no policy covers the resource",
	aapv1.DecisionReason_DECISION_REASON_NETWORK_NOT_ALLOWED:            "no network rule matches where the call came from",
	aapv1.DecisionReason_DECISION_REASON_ROLE_NOT_TRUSTED:               "the RAM role does not trust the environment",
	aapv1.DecisionReason_DECISION_REASON_CREDENTIAL_UNKNOWN:             "there is no such client key any more",
	aapv1.DecisionReason_DECISION_REASON_CREDENTIAL_INVALID:             "the session is not genuine, or was ended",
	aapv1.DecisionReason_DECISION_REASON_CREDENTIAL_DISABLED:            "the client key is disabled",
	aapv1.DecisionReason_DECISION_REASON_CREDENTIAL_NOT_YET_VALID:       "the client key is not valid yet",
	aapv1.DecisionReason_DECISION_REASON_CREDENTIAL_EXPIRED:             "the session or the client key has expired",
	aapv1.DecisionReason_DECISION_REASON_AUTHENTICATION_METHOD_MISMATCH: "the access point authenticates in another way",
}

// Allows says whether a decision allows; whatever isn't known doesn't.
func Allows(decision *aapv1.Decision) bool {
	return decision.GetOutcome() == aapv1.Outcome_OUTCOME_ALLOW
}

// IsAboutCredential says whether a denial is about the session, so that a new one might help.
func IsAboutCredential(decision *aapv1.Decision) bool {
	return strings.HasPrefix(reason(decision), "CREDENTIAL_")
}

// InWords says an answer: what was decided, why, and where the record of it is.
func InWords(answer *aapv1.CheckAccessResponse) string {
	decision := answer.GetDecision()
	return fmt.Sprintf("%s (%s, record %d)", said(decision), reason(decision), answer.GetReceipt().GetSequence())
}

func said(decision *aapv1.Decision) string {
	if Allows(decision) {
		grants := fmt.Sprintf("allowed: the policy %s grants it", path.Base(decision.GetPolicy()))
		if rule := decision.GetNetworkRule(); rule != "" {
			grants += " by the network rule " + path.Base(rule)
		}
		return grants
	}
	why, known := words[decision.GetReason()]
	if !known {
		why = "for a reason that this program does not know"
	}
	if nearest := decision.GetNearestPolicy(); nearest != "" {
		why += "; the nearest policy is " + path.Base(nearest)
	}
	return "denied: " + why
}

// The reason's name without its prefix, or the number of one that is newer than this program.
func reason(decision *aapv1.Decision) string {
	return strings.TrimPrefix(decision.GetReason().String(), "DECISION_REASON_")
}
