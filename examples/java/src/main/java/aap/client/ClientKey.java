package aap.client;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.JWSSigner;
import com.nimbusds.jose.crypto.ECDSASigner;
import com.nimbusds.jose.crypto.RSASSASigner;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.SignedJWT;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.Key;
import java.security.KeyStore;
import java.security.interfaces.ECPrivateKey;
import java.security.interfaces.RSAPrivateKey;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.Date;
import java.util.UUID;

/** A client key: what an application proves with which access point it is. */
final class ClientKey {
    /**
     * An assertion is used at once; a clock that is slow by less than this does no harm. The server
     * allows five minutes.
     */
    private static final Duration ASSERTION_LIFETIME = Duration.ofMinutes(2);

    private final String keyId;
    private final JWSAlgorithm algorithm;
    private final JWSSigner signer;

    private ClientKey(String keyId, JWSAlgorithm algorithm, JWSSigner signer) {
        this.keyId = keyId;
        this.algorithm = algorithm;
        this.signer = signer;
    }

    /**
     * Opens a file as {@code IssueClientKey} gives it: a key's id, and PKCS#12 under a password.
     *
     * @throws IOException also if the password is another one
     */
    static ClientKey open(Path path, String password) throws IOException {
        JsonObject document = JsonParser.parseString(Files.readString(path)).getAsJsonObject();
        String keyId = document.get("KeyId").getAsString();
        byte[] store = Base64.getDecoder().decode(document.get("PrivateKeyData").getAsString());
        try {
            Key key = privateKey(store, password.toCharArray());
            if (key instanceof RSAPrivateKey rsa) {
                return new ClientKey(keyId, JWSAlgorithm.RS256, new RSASSASigner(rsa));
            }
            if (key instanceof ECPrivateKey ec && ec.getParams().getOrder().bitLength() == 256) {
                return new ClientKey(keyId, JWSAlgorithm.ES256, new ECDSASigner(ec));
            }
        } catch (GeneralSecurityException | JOSEException | IOException error) {
            throw new IOException(path + " can't be opened with this password", error);
        }
        throw new IOException(path + " has a key that is neither of RSA nor on P-256");
    }

    private static Key privateKey(byte[] pkcs12, char[] password)
            throws GeneralSecurityException, IOException {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(new ByteArrayInputStream(pkcs12), password);
        return store.getKey(store.aliases().nextElement(), password);
    }

    /** Signs a JWT (RFC 7523) that proves once that this key is here. */
    String assertion(String audience) {
        Instant now = Instant.now();
        JWTClaimsSet claims =
                new JWTClaimsSet.Builder()
                        .issuer(keyId)
                        .subject(keyId)
                        .audience(audience)
                        .issueTime(Date.from(now))
                        .expirationTime(Date.from(now.plus(ASSERTION_LIFETIME)))
                        .jwtID(UUID.randomUUID().toString())
                        .build();
        SignedJWT jwt =
                new SignedJWT(new JWSHeader.Builder(algorithm).keyID(keyId).build(), claims);
        try {
            jwt.sign(signer);
        } catch (JOSEException error) {
            throw new IllegalStateException("the client key does not sign", error);
        }
        return jwt.serialize();
    }
}
