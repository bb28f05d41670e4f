// Opens a PKCS#12 file with a password from another file, with golang.org/x/crypto/pkcs12, which knows
// nothing newer than triple DES; fails unless its key is its certificate's.
package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"log"
	"os"
	"strings"

	"golang.org/x/crypto/pkcs12"
)

func main() {
	log.SetFlags(0)
	file, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	password, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	key, certificate, err := pkcs12.Decode(file, strings.TrimSpace(string(password)))
	if err != nil {
		log.Fatal(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		log.Fatalf("%T does not sign", key)
	}
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		log.Fatal(err)
	}
	if !bytes.Equal(public, certificate.RawSubjectPublicKeyInfo) {
		log.Fatal("the key is not the certificate's")
	}
}
