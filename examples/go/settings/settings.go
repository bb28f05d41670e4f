// Package settings has what the programs are told by their environment; ../README.md has the list.
package settings

import (
	"fmt"
	"os"
	"strings"
)

// Required returns the value of a variable, and ends the program if there is none.
func Required(name string) string {
	value := os.Getenv(name)
	if value == "" {
		Stop(fmt.Errorf("%s is not set", name))
	}
	return value
}

// Location returns the account and region that everything here is about.
func Location() string {
	return fmt.Sprintf("accounts/%s/regions/%s", Required("AAP_ACCOUNT"), Required("AAP_REGION"))
}

// AccessPoint returns the name of the access point that the application is.
func AccessPoint() string {
	return fmt.Sprintf("%s/accessPoints/%s", Location(), Required("AAP_ACCESS_POINT"))
}

// Token returns a caller's bearer token, from a file or from the environment itself.
func Token() string {
	if path := os.Getenv("AAP_TOKEN_FILE"); path != "" {
		return Line(path)
	}
	return Required("AAP_TOKEN")
}

// Line returns what is in a file of one line.
func Line(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		Stop(err)
	}
	return strings.TrimSpace(string(text))
}

// Stop ends the program over something that only a person can put right.
func Stop(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}
