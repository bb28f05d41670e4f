// Says decisions in words.

const WORDS = {
  ACCESS_POINT_NOT_FOUND: 'there is no such access point',
  ACCESS_POINT_SUSPENDED: 'the access point is suspended',
  SCOPE_NOT_COVERED: 'no policy is for that instance',
  ACTION_NOT_PERMITTED: 'no policy permits the action',
  RESOURCE_NOT_COVERED: 'no policy covers the resource',
  NETWORK_NOT_ALLOWED: 'no network rule matches where the call came from',
  ROLE_NOT_TRUSTED: 'the RAM role does not trust the environment',
  CREDENTIAL_UNKNOWN: 'there is no such client key any more',
  CREDENTIAL_INVALID: 'the session is not genuine, or was ended',
  CREDENTIAL_DISABLED: 'the client key is disabled',
  CREDENTIAL_NOT_YET_VALID: 'the client key is not valid yet',
  CREDENTIAL_EXPIRED: 'the session or the client key has expired',
  AUTHENTICATION_METHOD_MISMATCH: 'the access point authenticates in another way',
};

// Whether a decision allows; whatever isn't known doesn't.
export function allows(decision) {
  return decision?.outcome === 'OUTCOME_ALLOW';
}

// Whether a denial is about the session, so that a new one might help.
export function isAboutCredential(decision) {
  return reason(decision).startsWith('CREDENTIAL_');
}

// Says an answer: what was decided, why, and where the record of it is.
export function inWords({ decision, receipt }) {
  return `${said(decision)} (${reason(decision)}, record ${receipt?.sequence})`;
}

function said(decision) {
  if (allows(decision)) {
    const rule = decision.networkRule ? ` by the network rule ${short(decision.networkRule)}` : '';
    return `allowed: the policy ${short(decision.policy)} grants it${rule}`;
  }
  const why = WORDS[reason(decision)] ?? 'for a reason that this program does not know';
  const nearest = decision?.nearestPolicy;
  return `denied: ${why}${nearest ? `; the nearest policy is ${short(nearest)}` : ''}`;
}

// The reason's name without its prefix, or the number of one that is newer than this program.
function reason(decision) {
  return String(decision?.reason).replace(/^DECISION_REASON_/, '');
}

// A resource's id, from its name.
function short(name) {
  return name.split('/').at(-1);
}
