package session

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Intercept shows the session with each unary call, and a new one, once, where it is not taken any
// more. It is for grpc.WithUnaryInterceptor.
func (s *Source) Intercept(
	ctx context.Context, method string, request, reply any, connection *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	token, err := s.Token(ctx)
	if err != nil {
		return err
	}
	err = invoke(showing(ctx, token), method, request, reply, connection, options...)
	if status.Code(err) != codes.Unauthenticated {
		return err
	}
	s.Drop(token)
	if token, err = s.Token(ctx); err != nil {
		return err
	}
	return invoke(showing(ctx, token), method, request, reply, connection, options...)
}

func showing(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}
