// Package clientkey opens client-key files, and signs assertions with what is in them.
package clientkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"software.sslmate.com/src/go-pkcs12"
)

// An assertion is used at once; a clock that is slow by less than this does no harm. The server
// allows five minutes.
const assertionLifetime = 2 * time.Minute

// Key is a client key: what an application proves with which access point it is.
type Key struct {
	id      string
	method  jwt.SigningMethod
	private crypto.PrivateKey
}

// Open opens a file as IssueClientKey gives it: a key's id, and PKCS#12 under a password.
func Open(path, password string) (*Key, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var document struct {
		KeyID          string `json:"KeyId"`
		PrivateKeyData []byte
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s is no client-key file: %w", path, err)
	}
	private, _, err := pkcs12.Decode(document.PrivateKeyData, password)
	if errors.Is(err, pkcs12.ErrIncorrectPassword) {
		return nil, fmt.Errorf("%s can't be opened with this password", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s can't be opened: %w", path, err)
	}
	switch private := private.(type) {
	case *rsa.PrivateKey:
		return &Key{document.KeyID, jwt.SigningMethodRS256, private}, nil
	case *ecdsa.PrivateKey:
		if private.Curve == elliptic.P256() {
			return &Key{document.KeyID, jwt.SigningMethodES256, private}, nil
		}
	}
	return nil, fmt.Errorf("%s has a key that is neither of RSA nor on P-256", path)
}

// Assertion signs a JWT (RFC 7523) that proves once that this key is here.
func (k *Key) Assertion(audience string) (string, error) {
	now := time.Now()
	token := jwt.NewWithClaims(k.method, jwt.RegisteredClaims{
		Issuer:    k.id,
		Subject:   k.id,
		Audience:  jwt.ClaimStrings{audience},
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(assertionLifetime)),
		ID:        uuid.NewString(),
	})
	token.Header["kid"] = k.id
	return token.SignedString(k.private)
}
