// Command application reads a secret through an enforcement point, by a session of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	examplev1 "aap.example/client/gen/example/v1"

	"google.golang.org/grpc"

	"aap.example/client/clientkey"
	"aap.example/client/connect"
	"aap.example/client/session"
	"aap.example/client/settings"
)

func main() {
	times := flag.Int("times", 1, "how often to read it")
	every := flag.Float64("every", 1, "after how many seconds again")
	atOnce := flag.Int("at-once", 1, "by how many goroutines at once")
	showSession := flag.Bool("show-session", false, "print a session's token and read nothing")
	flag.Parse()
	secret := "reports/2025"
	if flag.NArg() > 0 {
		secret = flag.Arg(0)
	}

	sessions := openSessions()
	if *showSession {
		token, err := sessions.Token(context.Background())
		if err != nil {
			settings.Stop(fmt.Errorf("there is no session: %s", connect.Describe(err)))
		}
		fmt.Println(token)
		return
	}
	gateway := open(settings.Required("GATEWAY_SERVER"), grpc.WithUnaryInterceptor(sessions.Intercept))
	client := examplev1.NewSecretServiceClient(gateway)
	readAll := true
	for turn := range *times {
		if turn > 0 {
			time.Sleep(time.Duration(*every * float64(time.Second)))
		}
		readAll = readAtOnce(client, secret, *atOnce)
	}
	if !readAll {
		os.Exit(1)
	}
}

func openSessions() *session.Source {
	password := settings.Line(settings.Required("AAP_CLIENT_KEY_PASSWORD_FILE"))
	key, err := clientkey.Open(settings.Required("AAP_CLIENT_KEY"), password)
	if err != nil {
		settings.Stop(err)
	}
	lifetime := 900
	if text := os.Getenv("AAP_SESSION_SECONDS"); text != "" {
		if lifetime, err = strconv.Atoi(text); err != nil {
			settings.Stop(err)
		}
	}
	return session.NewSource(open(settings.Required("AAP_SERVER")), session.Application{
		AccessPoint: settings.AccessPoint(),
		Key:         key,
		Audience:    settings.Required("AAP_AUDIENCE"),
		Lifetime:    time.Duration(lifetime) * time.Second,
	})
}

func open(server string, options ...grpc.DialOption) *grpc.ClientConn {
	connection, err := connect.Open(server, os.Getenv("AAP_CA"), options...)
	if err != nil {
		settings.Stop(err)
	}
	return connection
}

func readAtOnce(client examplev1.SecretServiceClient, secret string, atOnce int) bool {
	var group sync.WaitGroup
	var failed atomic.Bool
	for range atOnce {
		group.Go(func() {
			if !read(client, secret) {
				failed.Store(true)
			}
		})
	}
	group.Wait()
	return !failed.Load()
}

func read(client examplev1.SecretServiceClient, secret string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := client.ReadSecret(ctx, &examplev1.ReadSecretRequest{Name: secret})
	if err != nil {
		fmt.Printf("%s can't be read: %s\n", secret, connect.Describe(err))
		return false
	}
	fmt.Printf("%s is read: %d bytes\n", secret, len(answer.GetValue()))
	return true
}
