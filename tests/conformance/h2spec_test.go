package conformance

import (
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// report is what h2spec writes for JUnit.
type report struct {
	Suites []struct {
		Package string `xml:"package,attr"`
		Cases   []struct {
			Name    string    `xml:"classname,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct {
				Text string `xml:",chardata"`
			} `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// least is how many cases this h2spec has.
const least = 146

// unfit is the one case that a port cannot pass which serves HTTP/1.1 too: what does
// not begin like HTTP/2 is not HTTP/2, and gets the 400 of HTTP/1.1 (RFC 9113 §3.4
// lets a server say nothing in HTTP/2 to such a client).
const unfit = "Sends invalid connection preface"

// Every case of h2spec passes, the strict ones too: over TLS and by prior knowledge,
// where sluice answers by itself and where a backend does.
func TestH2spec(t *testing.T) {
	for _, way := range []struct{ name, pool string }{
		{"direct", ""},
		{"to http1", `{backends: ["127.0.0.1:%d"]}`},
		{"to h2c", `{protocol: h2c, backends: ["127.0.0.1:%d"]}`},
	} {
		t.Run(way.name, func(t *testing.T) {
			pool := way.pool
			if pool != "" {
				pool = fmt.Sprintf(pool, startBackend(t))
			}
			e := startEdge(t, pool)
			t.Run("TLS", func(t *testing.T) {
				t.Parallel()
				h2spec(t, "", "-t", "-k", fmt.Sprintf("-p=%d", e.https))
			})
			t.Run("prior knowledge", func(t *testing.T) {
				t.Parallel()
				h2spec(t, unfit, fmt.Sprintf("-p=%d", e.http))
			})
		})
	}
}

// rounds is how often a case may be tried. Some send a request and, in a frame of its
// own, what spoils it. Where the answer is complete before that frame comes, the stream
// is closed, and what comes on it is rightly ignored (RFC 9113 §5.1); h2spec calls that
// a failure. On a busy machine it happens, to another case each time; a rule that
// sluice breaks is broken in every round.
const rounds = 4

func h2spec(t *testing.T, unfit string, arguments ...string) {
	t.Helper()
	failed := map[string]string{}
	for round := range rounds {
		again := h2specOnce(t, unfit, arguments)
		if round == 0 {
			failed = again
		}
		for name := range failed {
			if _, still := again[name]; !still {
				delete(failed, name)
			}
		}
		if len(failed) == 0 {
			return
		}
		t.Logf("round %d: not passed yet: %v", round+1, failed)
	}
	for name, how := range failed {
		t.Errorf("%s: %s", name, how)
	}
}

// h2specOnce runs all cases once, and tells which did not pass and how.
func h2specOnce(t *testing.T, unfit string, arguments []string) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.xml")
	arguments = append([]string{"-h=127.0.0.1", "-S", "-o=2", "-j=" + path}, arguments...)
	said, err := exec.Command(tool(t, "h2spec"), arguments...).CombinedOutput()
	text, missing := os.ReadFile(path)
	if missing != nil {
		t.Fatalf("%v: %v\n%s", missing, err, tail(string(said)))
	}
	var all report
	if err := xml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	failed := map[string]string{}
	passed, total := 0, 0
	for _, suite := range all.Suites {
		for _, one := range suite.Cases {
			total++
			name := suite.Package + ": " + one.Name
			switch {
			case one.Name == unfit:
				t.Logf("%s: not for this port", name)
			case one.Failure != nil || one.Error != nil:
				failed[name] = "failed"
			case one.Skipped != nil:
				failed[name] = "skipped"
			default:
				passed++
			}
		}
	}
	t.Logf("%d of %d passed", passed, total)
	if total < least {
		t.Fatalf("h2spec has %d cases, and had %d\n%s", total, least, tail(string(said)))
	}
	// It ends with 1 for the unfit one, too.
	if err != nil && unfit == "" && len(failed) == 0 {
		t.Errorf("%v\n%s", err, tail(string(said)))
	}
	return failed
}
