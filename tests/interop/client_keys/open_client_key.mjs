// Opens a PKCS#12 file with a password from another file, as a connection of TLS does: that fails if
// its key isn't its certificate's.

import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";

const [pfx, password] = process.argv.slice(2).map((path) => readFileSync(path));
createSecureContext({ pfx, passphrase: password.toString().trimEnd() });
