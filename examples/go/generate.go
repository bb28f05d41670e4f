// Package client has no code of its own; what it says is how gen is made.
package client

//go:generate buf generate
