// Package follower follows the audit log into a file: every record once, in order, whatever is killed
// in between.
package follower

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	aapv1 "aap.example/client/gen/aap/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aap.example/client/connect"
)

const pause = time.Second

// What repeating the call does not change, so that a person must look. OutOfRange: the records to go
// on with are no longer kept. FailedPrecondition: a new log has begun.
var final = map[codes.Code]bool{
	codes.DataLoss:           true,
	codes.FailedPrecondition: true,
	codes.InvalidArgument:    true,
	codes.OutOfRange:         true,
	codes.PermissionDenied:   true,
	codes.Unauthenticated:    true,
	codes.Unimplemented:      true,
}

// How far a follower is: what it would go on with, and how much of its file is good.
type place struct {
	LogID        string `json:"log_id"`
	NextSequence uint64 `json:"next_sequence"`
	Bytes        int64  `json:"bytes"`
}

// Follower appends records to records.jsonl in a directory, and keeps its place in place.json.
//
// The place is written after the records that it accounts for. So on a start, what the file has
// beyond it is cut off, and comes again.
type Follower struct {
	client    aapv1.AuditServiceClient
	placePath string
	place     place
	records   *os.File
}

// Open opens a directory, and makes it if it isn't there.
func Open(connection grpc.ClientConnInterface, directory string) (*Follower, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	f := &Follower{
		client:    aapv1.NewAuditServiceClient(connection),
		placePath: filepath.Join(directory, "place.json"),
	}
	if err := f.readPlace(); err != nil {
		return nil, err
	}
	records, err := os.OpenFile(filepath.Join(directory, "records.jsonl"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	f.records = records
	size, err := records.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if size < f.place.Bytes {
		return nil, fmt.Errorf("%s is shorter than %s says", records.Name(), f.placePath)
	}
	if err := records.Truncate(f.place.Bytes); err != nil {
		return nil, err
	}
	_, err = records.Seek(f.place.Bytes, io.SeekStart)
	return f, err
}

// Run follows until the context ends, or something happens where only a person can help.
func (f *Follower) Run(ctx context.Context) error {
	for {
		err := f.watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if _, isStatus := status.FromError(err); !isStatus || final[status.Code(err)] {
			return err
		}
		log.Printf("the watch has ended: %s", connect.Describe(err))
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
	}
}

func (f *Follower) watch(ctx context.Context) error {
	request := &aapv1.WatchAuditRecordsRequest{LogId: f.place.LogID}
	if f.place.LogID == "" {
		// The first record that is kept.
		request.Start = &aapv1.WatchAuditRecordsRequest_FromTime{FromTime: &timestamppb.Timestamp{}}
	} else {
		request.Start = &aapv1.WatchAuditRecordsRequest_FromSequence{FromSequence: f.place.NextSequence}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch, err := f.client.WatchAuditRecords(ctx, request)
	if err != nil {
		return err
	}
	for {
		message, err := watch.Recv()
		if errors.Is(err, io.EOF) {
			return status.Error(codes.Unavailable, "the server has ended it")
		}
		if err != nil {
			return err
		}
		if err := f.take(message); err != nil {
			return err
		}
	}
}

func (f *Follower) take(message *aapv1.WatchAuditRecordsResponse) error {
	from, through := message.GetScanned().GetFrom(), message.GetScanned().GetThrough()
	if f.place.LogID != "" && from != f.place.NextSequence {
		return fmt.Errorf("the server goes on with %d, not %d", from, f.place.NextSequence)
	}
	next := place{message.GetLogId(), through + 1, f.place.Bytes}
	for _, entry := range message.GetEntries() {
		// A record that is damaged on the server's disk has its place here all the same.
		line, err := protojson.Marshal(entry)
		if err != nil {
			return err
		}
		written, err := f.records.Write(append(line, '\n'))
		if err != nil {
			return err
		}
		next.Bytes += int64(written)
	}
	if len(message.GetEntries()) > 0 {
		if err := f.records.Sync(); err != nil {
			return err
		}
	}
	return f.keep(next)
}

// Replaces the file of the place, so that there is always a whole one.
func (f *Follower) keep(next place) error {
	if next == f.place {
		return nil
	}
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	path := f.placePath + ".new"
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	f.place = next
	return os.Rename(path, f.placePath)
}

func (f *Follower) readPlace() error {
	text, err := os.ReadFile(f.placePath)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &f.place); err != nil {
		return fmt.Errorf("%s: %w", f.placePath, err)
	}
	return nil
}
