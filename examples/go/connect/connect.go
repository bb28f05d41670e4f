// Package connect opens connections: TLS, or plain text on this machine.
package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Open opens a connection to https://HOST:PORT, or to http://HOST:PORT on this machine. The file ca
// has the authorities that vouch for the server, in PEM; without it, the system's count.
func Open(server, ca string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	parsed, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	var transport credentials.TransportCredentials
	switch {
	case parsed.Scheme == "https" && parsed.Host != "":
		if transport, err = transportSecurity(ca); err != nil {
			return nil, err
		}
	case parsed.Scheme == "http" && isLoopback(parsed.Hostname()):
		transport = insecure.NewCredentials()
	default:
		return nil, fmt.Errorf("%s is neither https:// nor http:// on this machine", server)
	}
	return grpc.NewClient(parsed.Host, append([]grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		// Notices a server that is gone without a word, which a watch would wait for forever.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second,
		}),
		// gRPC's own bound is two minutes, long after a restarted server is back.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second,
			},
			MinConnectTimeout: 5 * time.Second,
		}),
	}, options...)...)
}

func transportSecurity(ca string) (credentials.TransportCredentials, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificates", ca)
		}
	}
	return credentials.NewTLS(config), nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// Bearer shows a token with every call. Open has seen to it that nobody else reads it.
type Bearer string

// GetRequestMetadata returns the metadata of a call.
func (b Bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity returns false, for plain text on this machine.
func (b Bearer) RequireTransportSecurity() bool {
	return false
}

// Describe says what went wrong: the code, the server's reason if it gave one, and its message.
func Describe(err error) string {
	s := status.Convert(err)
	// By the name that the API's documentation has, such as NOT_FOUND.
	said := code.Code(s.Code()).String()
	if reason := reasonOf(s); reason != "" {
		said += fmt.Sprintf(" (%s)", reason)
	}
	return said + ": " + s.Message()
}

// The server's reason, a name of aap.v1.ErrorReason without its prefix.
func reasonOf(s *status.Status) string {
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "aap" {
			return strings.TrimPrefix(info.GetReason(), "ERROR_REASON_")
		}
	}
	return ""
}
