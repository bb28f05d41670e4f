"""Opens client-key files, and signs assertions with what is in them."""

import base64
import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

# An assertion is used at once; a clock that is slow by less than this does no harm. The server
# allows 300.
ASSERTION_SECONDS = 120


@dataclass(frozen=True)
class ClientKey:
    """A client key: what an application proves with which access point it is."""

    key_id: str
    algorithm: str
    private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @classmethod
    def open(cls, path: Path, password: str) -> "ClientKey":
        """Opens a file as `IssueClientKey` gives it: a key's id, and PKCS#12 under a password."""
        document = json.loads(path.read_text())
        store = base64.b64decode(document["PrivateKeyData"], validate=True)
        try:
            private_key, _, _ = pkcs12.load_key_and_certificates(store, password.encode())
        except ValueError as error:
            raise ValueError(f"{path} can't be opened with this password") from error
        match private_key:
            case rsa.RSAPrivateKey():
                return cls(document["KeyId"], "RS256", private_key)
            case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
                return cls(document["KeyId"], "ES256", private_key)
        raise ValueError(f"{path} has a key that is neither of RSA nor on P-256")

    def assertion(self, audience: str) -> str:
        """Signs a JWT (RFC 7523) that proves once that this key is here."""
        now = int(time.time())
        claims = {
            "iss": self.key_id,
            "sub": self.key_id,
            "aud": audience,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self.private_key, self.algorithm, headers={"kid": self.key_id})
