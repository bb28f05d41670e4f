// Verifies checkpoints and proofs of the audit log by Go's own implementation of signed notes and
// transparency logs, which knows nothing of the server.
//
// It reads a key and a file of JSON lines, each with checkpoints as notes and a proof between them.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A line is a checkpoint alone, or one with the proof of a record or of an older checkpoint.
type line struct {
	Note     string
	Index    *int64
	LeafHash []byte
	OldNote  string
	Hashes   [][]byte
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		os.Exit(1)
	}
}

func run(key, path string) error {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	notes, records, growths := 0, 0, 0
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var one line
		if err := json.Unmarshal(scanner.Bytes(), &one); err != nil {
			return err
		}
		tree, err := open(one.Note, verifier)
		if err != nil {
			return err
		}
		hashes := make([]tlog.Hash, len(one.Hashes))
		for i, hash := range one.Hashes {
			copy(hashes[i][:], hash)
		}
		switch {
		case one.Index != nil:
			var leaf tlog.Hash
			copy(leaf[:], one.LeafHash)
			err = tlog.CheckRecord(hashes, tree.N, tree.Hash, *one.Index, leaf)
			records++
		case one.OldNote != "":
			var old tlog.Tree
			if old, err = open(one.OldNote, verifier); err == nil {
				err = tlog.CheckTree(hashes, tree.N, tree.Hash, old.N, old.Hash)
			}
			growths++
		default:
			notes++
		}
		if err != nil {
			return fmt.Errorf("%s: %w", scanner.Text(), err)
		}
	}
	if notes == 0 || records == 0 || growths == 0 {
		return fmt.Errorf("only %d notes, %d records, %d growths", notes, records, growths)
	}
	fmt.Printf("%d checkpoints, %d proofs of records, %d proofs of growth\n", notes, records, growths)
	return scanner.Err()
}

// Opens a checkpoint; it has three lines (C2SP tlog-checkpoint), of which the first names the log.
func open(text string, verifier note.Verifier) (tlog.Tree, error) {
	var tree tlog.Tree
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tree, fmt.Errorf("no checkpoint: %q", opened.Text)
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	hash, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(hash) != tlog.HashSize {
		return tree, fmt.Errorf("no root: %q", lines[2])
	}
	copy(tree.Hash[:], hash)
	return tree, nil
}
