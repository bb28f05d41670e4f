// Package session gets sessions by a client key, and renews them before they end.
package session

import (
	"context"
	"log"
	"sync"
	"time"

	aapv1 "aap.example/client/gen/aap/v1"

	"google.golang.org/grpc"

	"aap.example/client/clientkey"
	"aap.example/client/connect"
)

const (
	// How long an answer may take.
	patience = 10 * time.Second
	// A session is renewed when a third of its time is left, or this much.
	renewBefore = time.Minute
	// After a failure nobody asks again for so long, twice as long after each further one.
	firstPause, longestPause = 500 * time.Millisecond, 15 * time.Second
)

// Application is what a session is asked for, and how.
type Application struct {
	// AccessPoint is the access point's whole name.
	AccessPoint string
	Key         *clientkey.Key
	// Audience is what the server is called in assertions: sessions.audience in its configuration.
	Audience string
	// Lifetime is how long sessions are to last, in whole seconds, an hour at most.
	Lifetime time.Duration
}

// Source always has a session, as far as the server grants them. One is enough for a program: of all
// goroutines that use it, one asks for a session while the others go on with the one there is.
type Source struct {
	client      aapv1.SessionServiceClient
	application Application

	// mu guards all below.
	mu      sync.Mutex
	session *granted
	// Closed when the answer to the one who asks is here; nil if nobody asks.
	asking     chan struct{}
	failure    error
	pause      time.Duration
	askAgainAt time.Time
}

type granted struct {
	token           string
	renewAt, endsAt time.Time
}

// NewSource returns a source of sessions of an application.
func NewSource(connection grpc.ClientConnInterface, application Application) *Source {
	client := aapv1.NewSessionServiceClient(connection)
	return &Source{client: client, application: application, pause: firstPause}
}

// Token returns the token of a session that isn't over, or why none is granted.
func (s *Source) Token(ctx context.Context) (string, error) {
	for {
		token, asking, err := s.look()
		if asking == nil {
			return token, err
		}
		select {
		case <-asking:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// What there is now: a token, or somebody to wait for, or a failure.
func (s *Source) look() (string, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	alive := s.session != nil && now.Before(s.session.endsAt)
	if alive && now.Before(s.session.renewAt) {
		return s.session.token, nil, nil
	}
	if s.asking == nil && !now.Before(s.askAgainAt) {
		s.asking = make(chan struct{})
		go s.ask()
	}
	switch {
	case alive:
		return s.session.token, nil, nil
	case s.asking != nil:
		return "", s.asking, nil
	default:
		return "", nil, s.failure
	}
}

// Drop forgets a session that an enforcement point took no more, unless there is another already.
func (s *Source) Drop(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil && s.session.token == token {
		s.session = nil
	}
}

func (s *Source) ask() {
	session, err := s.create()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.session, s.pause, s.askAgainAt = session, firstPause, time.Time{}
	} else {
		if s.session != nil {
			log.Printf("the session could not be renewed yet: %s", connect.Describe(err))
		}
		s.failure, s.askAgainAt = err, time.Now().Add(s.pause)
		s.pause = min(2*s.pause, longestPause)
	}
	close(s.asking)
	s.asking = nil
}

func (s *Source) create() (*granted, error) {
	assertion, err := s.application.Key.Assertion(s.application.Audience)
	if err != nil {
		return nil, err
	}
	// Of no caller's context: whoever asks, asks for all.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	askedAt := time.Now()
	answer, err := s.client.CreateSession(ctx, &aapv1.CreateSessionRequest{
		AccessPoint:     s.application.AccessPoint,
		Proof:           &aapv1.CreateSessionRequest_ClientKeyAssertion{ClientKeyAssertion: assertion},
		LifetimeSeconds: int32(s.application.Lifetime / time.Second),
	})
	if err != nil {
		return nil, err
	}
	// What was asked for bounds it, if this machine's clock is slow; a client key that ends may have
	// made it shorter.
	lasts := min(s.application.Lifetime, answer.GetExpireTime().AsTime().Sub(askedAt))
	endsAt := askedAt.Add(lasts)
	return &granted{answer.GetToken(), endsAt.Add(-min(lasts/3, renewBefore)), endsAt}, nil
}
