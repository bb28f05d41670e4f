"""Opens a PKCS#12 file with a password from another file; fails unless its key is its certificate's."""

import sys

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs12

with open(sys.argv[1], "rb") as file, open(sys.argv[2], "rb") as password:
    key, certificate, others = pkcs12.load_key_and_certificates(
        file.read(), password.read().rstrip(b"\n")
    )
form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
same = key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)
sys.exit(0 if same and not others else "the key is not the certificate's")
