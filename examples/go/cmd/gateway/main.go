// Command gateway is an enforcement point: it hands secrets to applications that aap allows to read
// them.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	aapv1 "aap.example/client/gen/aap/v1"
	examplev1 "aap.example/client/gen/example/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"aap.example/client/connect"
	"aap.example/client/decision"
	"aap.example/client/settings"
)

// An application that waits longer than this for a decision is refused.
const patience = 5 * time.Second

// What this gateway guards.
var secrets = map[string][]byte{"reports/2025": []byte("the figures of 2025")}

// Asks before each answer, and answers nothing that was not allowed.
type gateway struct {
	examplev1.UnimplementedSecretServiceServer
	client   aapv1.AuthorizationServiceClient
	location string
}

func (g *gateway) ReadSecret(
	ctx context.Context, request *examplev1.ReadSecretRequest,
) (*examplev1.ReadSecretResponse, error) {
	resource := "secret/" + request.GetName()
	answer, err := g.check(ctx, resource)
	if err != nil {
		fmt.Printf("%s: no decision: %s\n", resource, connect.Describe(err))
		// What the application asked for can be wrong; all else is this gateway's own trouble.
		if status.Code(err) == codes.InvalidArgument {
			return nil, status.Error(codes.InvalidArgument, "this can't be decided")
		}
		return nil, status.Error(codes.Unavailable, "this can't be decided")
	}
	fmt.Printf("%s: %s\n", resource, decision.InWords(answer))
	// The reason is for who runs this, not for who asks.
	if !decision.Allows(answer.GetDecision()) {
		if decision.IsAboutCredential(answer.GetDecision()) {
			return nil, status.Error(codes.Unauthenticated, "the session is no good")
		}
		return nil, status.Error(codes.PermissionDenied, "this is not allowed")
	}
	secret, found := secrets[request.GetName()]
	if !found {
		return nil, status.Error(codes.NotFound, "there is no such secret")
	}
	return &examplev1.ReadSecretResponse{Value: secret}, nil
}

func (g *gateway) check(ctx context.Context, resource string) (*aapv1.CheckAccessResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return g.client.CheckAccess(ctx, &aapv1.CheckAccessRequest{
		Parent: g.location,
		Check: &aapv1.Check{
			Subject:  &aapv1.Check_Session{Session: sessionOf(ctx)},
			Action:   "GetSecretValue",
			Resource: resource,
			Instance: "shared",
			Origin: &aapv1.Origin{
				// Which network this gateway's listener is reached from is for it to know.
				Network: &aapv1.Origin_PublicNetwork{PublicNetwork: &aapv1.PublicNetwork{}},
				Address: addressOf(ctx),
			},
		},
	})
}

// The session that a call shows; empty if it shows none, which is denied and recorded.
func sessionOf(ctx context.Context) string {
	for _, shown := range metadata.ValueFromIncomingContext(ctx, "authorization") {
		return strings.TrimPrefix(shown, "Bearer ")
	}
	return ""
}

func addressOf(ctx context.Context) string {
	caller, _ := peer.FromContext(ctx)
	host, _, err := net.SplitHostPort(caller.Addr.String())
	if err != nil {
		return ""
	}
	return host
}

func main() {
	connection, err := connect.Open(settings.Required("AAP_SERVER"), os.Getenv("AAP_CA"),
		grpc.WithPerRPCCredentials(connect.Bearer(settings.Token())))
	if err != nil {
		settings.Stop(err)
	}
	address := cmp.Or(os.Getenv("GATEWAY_LISTEN"), "127.0.0.1:7400")
	transport, err := transportSecurity(address, os.Getenv("GATEWAY_CERTIFICATE"), os.Getenv("GATEWAY_KEY"))
	if err != nil {
		settings.Stop(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		settings.Stop(err)
	}
	server := grpc.NewServer(transport...)
	examplev1.RegisterSecretServiceServer(server, &gateway{
		client:   aapv1.NewAuthorizationServiceClient(connection),
		location: settings.Location(),
	})
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, server.GracefulStop)
	fmt.Printf("serving on %s\n", address)
	if err := server.Serve(listener); err != nil {
		settings.Stop(err)
	}
}

func transportSecurity(address, certificate, key string) ([]grpc.ServerOption, error) {
	if certificate != "" && key != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		return []grpc.ServerOption{grpc.Creds(credentials.NewServerTLSFromCert(&pair))}, nil
	}
	if !strings.HasPrefix(address, "127.") {
		return nil, fmt.Errorf("plain text is for 127.0.0.1: %s needs a certificate and a key", address)
	}
	return nil, nil
}
