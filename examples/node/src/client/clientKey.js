// Opens client-key files, and signs assertions with what is in them.

import { createPrivateKey, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { SignJWT } from 'jose';
import forge from 'node-forge';

// An assertion is used at once; a clock that is slow by less than this does no harm. The server
// allows 300.
const ASSERTION_SECONDS = 120;

// A client key: what an application proves with which access point it is.
export class ClientKey {
  #keyId;
  #algorithm;
  #privateKey;

  // Opens a file as `IssueClientKey` gives it: a key's id, and PKCS#12 under a password.
  static open(path, password) {
    const document = JSON.parse(readFileSync(path, 'utf8'));
    const store = Buffer.from(document.PrivateKeyData, 'base64').toString('binary');
    const key = new ClientKey();
    key.#keyId = document.KeyId;
    try {
      key.#privateKey = privateKey(
        forge.pkcs12.pkcs12FromAsn1(forge.asn1.fromDer(store), password),
      );
    } catch (error) {
      throw new Error(`${path} can't be opened with this password`, { cause: error });
    }
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key.#privateKey;
    if (type === 'rsa') {
      key.#algorithm = 'RS256';
    } else if (type === 'ec' && details.namedCurve === 'prime256v1') {
      key.#algorithm = 'ES256';
    } else {
      throw new Error(`${path} has a key that is neither of RSA nor on P-256`);
    }
    return key;
  }

  // Signs a JWT (RFC 7523) that proves once that this key is here.
  assertion(audience) {
    const now = Math.floor(Date.now() / 1_000);
    return new SignJWT()
      .setProtectedHeader({ alg: this.#algorithm, kid: this.#keyId })
      .setIssuer(this.#keyId)
      .setSubject(this.#keyId)
      .setAudience(audience)
      .setIssuedAt(now)
      .setExpirationTime(now + ASSERTION_SECONDS)
      .setJti(randomUUID())
      .sign(this.#privateKey);
  }
}

// The private key in a store, by Node's own cryptography: forge has none for P-256.
function privateKey(store) {
  const type = forge.pki.oids.pkcs8ShroudedKeyBag;
  const [bag] = store.getBags({ bagType: type })[type];
  const decoded = bag.key
    ? forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(bag.key))
    : bag.asn1;
  const der = Buffer.from(forge.asn1.toDer(decoded).getBytes(), 'binary');
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}
