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

func h2spec(t *testing.T, unfit string, arguments ...string) {
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
	passed, total := 0, 0
	for _, suite := range all.Suites {
		for _, one := range suite.Cases {
			total++
			switch {
			case one.Name == unfit:
				t.Logf("%s: %s: not for this port", suite.Package, one.Name)
			case one.Failure != nil || one.Error != nil:
				t.Errorf("%s: %s: failed", suite.Package, one.Name)
			case one.Skipped != nil:
				t.Errorf("%s: %s: skipped", suite.Package, one.Name)
			default:
				passed++
			}
		}
	}
	t.Logf("%d of %d passed", passed, total)
	if total < least {
		t.Errorf("h2spec has %d cases, and had %d\n%s", total, least, tail(string(said)))
	}
	// It ends with 1 for the unfit one, too.
	if err != nil && unfit == "" && !t.Failed() {
		t.Errorf("%v\n%s", err, tail(string(said)))
	}
}
