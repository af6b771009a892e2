package lab

import (
	"testing"
	"time"
)

// pollEvery is short against anything a story waits for, and long enough not
// to disturb what is waited for on a machine of two cores.
const pollEvery = 20 * time.Millisecond

// Eventually calls check until it returns nil; when timeout has passed it fails
// the test with the last error. It is the only way of waiting in this module.
func Eventually(t testing.TB, timeout time.Duration, check func() error) {
	t.Helper()
	if err := poll(timeout, check); err != nil {
		t.Fatalf("still not so after %v: %v", timeout, err)
	}
}

// poll is Eventually for code that runs before there is a test.
func poll(timeout time.Duration, check func() error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pollEvery)
	}
}
