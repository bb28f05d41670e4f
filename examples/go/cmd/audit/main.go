// Command audit follows the audit log into a directory, and goes on where it was whenever it is
// started again.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"aap.example/client/connect"
	"aap.example/client/follower"
	"aap.example/client/settings"
)

func main() {
	if len(os.Args) != 2 {
		settings.Stop(errors.New("usage: audit DIRECTORY"))
	}
	connection, err := connect.Open(settings.Required("AAP_SERVER"), os.Getenv("AAP_CA"),
		grpc.WithPerRPCCredentials(connect.Bearer(settings.Token())))
	if err != nil {
		settings.Stop(err)
	}
	records, err := follower.Open(connection, os.Args[1])
	if err != nil {
		settings.Stop(err)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	err = records.Run(ctx)
	if _, isStatus := status.FromError(err); err != nil && isStatus {
		err = fmt.Errorf("the audit log can't be followed any further: %s", connect.Describe(err))
	}
	if err != nil {
		settings.Stop(err)
	}
}
