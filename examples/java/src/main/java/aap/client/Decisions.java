package aap.client;

import aap.v1.AuthorizationServiceOuterClass.CheckAccessResponse;
import aap.v1.DecisionOuterClass.Decision;
import aap.v1.DecisionOuterClass.DecisionReason;
import aap.v1.DecisionOuterClass.Outcome;

/** Says decisions in words. */
final class Decisions {
    private Decisions() {}

    /** Whether a decision allows; whatever isn't known doesn't. */
    static boolean allows(Decision decision) {
        return decision.getOutcome() == Outcome.OUTCOME_ALLOW;
    }

    /** Whether a denial is about the session, so that a new one might help. */
    static boolean isAboutCredential(Decision decision) {
        return reason(decision).startsWith("CREDENTIAL_");
    }

    /** Says an answer: what was decided, why, and where the record of it is. */
    static String inWords(CheckAccessResponse answer) {
        Decision decision = answer.getDecision();
        long sequence = answer.getReceipt().getSequence();
        return said(decision) + " (" + reason(decision) + ", record " + sequence + ")";
    }

    private static String said(Decision decision) {
        if (allows(decision)) {
            String rule = decision.getNetworkRule();
            return "allowed: the policy "
                    + shortName(decision.getPolicy())
                    + " grants it"
                    + (rule.isEmpty() ? "" : " by the network rule " + shortName(rule));
        }
        String nearest = decision.getNearestPolicy();
        return "denied: "
                + why(decision.getReason())
                + (nearest.isEmpty() ? "" : "; the nearest policy is " + shortName(nearest));
    }

    private static String why(DecisionReason reason) {
        return switch (reason) {
            case DECISION_REASON_ACCESS_POINT_NOT_FOUND -> "there is no such access point";
            case DECISION_REASON_ACCESS_POINT_SUSPENDED -> "the access point is suspended";
            case DECISION_REASON_SCOPE_NOT_COVERED -> "no policy is for that instance";
            case DECISION_REASON_ACTION_NOT_PERMITTED -> "no policy permits the action";
            case DECISION_REASON_RESOURCE_NOT_COVERED -> "no policy covers the resource";
            case DECISION_REASON_NETWORK_NOT_ALLOWED ->
                    "no network rule matches where the call came from";
            case DECISION_REASON_ROLE_NOT_TRUSTED -> "the RAM role does not trust the environment";
            case DECISION_REASON_CREDENTIAL_UNKNOWN -> "there is no such client key any more";
            case DECISION_REASON_CREDENTIAL_INVALID -> "the session is not genuine, or was ended";
            case DECISION_REASON_CREDENTIAL_DISABLED -> "the client key is disabled";
            case DECISION_REASON_CREDENTIAL_NOT_YET_VALID -> "the client key is not valid yet";
            case DECISION_REASON_CREDENTIAL_EXPIRED -> "the session or the client key has expired";
            case DECISION_REASON_AUTHENTICATION_METHOD_MISMATCH ->
                    "the access point authenticates in another way";
            default -> "for a reason that this program does not know";
        };
    }

    /**
     * The reason's name without its prefix, or the number of one that is newer than this program.
     */
    private static String reason(Decision decision) {
        return decision.getReason() == DecisionReason.UNRECOGNIZED
                ? String.valueOf(decision.getReasonValue())
                : decision.getReason().name().replaceFirst("^DECISION_REASON_", "");
    }

    /** A resource's id, from its name. */
    private static String shortName(String name) {
        return name.substring(name.lastIndexOf('/') + 1);
    }
}
