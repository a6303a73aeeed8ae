package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A recorder is a connection of the tests: it takes deadlines, as a real one does.
type recorder struct{ *httptest.ResponseRecorder }

func (recorder) SetWriteDeadline(time.Time) error { return nil }

// FuzzControlProtocol sends whatever bytes make an HTTP request: the server
// answers every one with a document, and what it refuses never reaches the
// switch (reliability rows C3 and C5).
func FuzzControlProtocol(f *testing.F) {
	for _, seed := range []string{
		"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/connections?instance=web1&limit=10 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/connections?limit=-1 HTTP/1.1\r\nHost: x\r\n\r\n",
		body("POST /v1/reload HTTP/1.1", `{"file": "vpc.toml", "dry_run": true}`),
		body("POST /v1/reload HTTP/1.1", `{"file": 7}`),
		body("POST /v1/stop HTTP/1.1", ``),
		"DELETE /v1/../v1//status HTTP/1.0\r\n\r\n",
		"E * HTTP/0.1\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return // not an HTTP request: net/http answers it
		}
		b := &fake{}
		answer := recorder{httptest.NewRecorder()}
		newServer(b, slog.New(slog.DiscardHandler), clientDeadline).http.Handler.ServeHTTP(answer, request)
		if answer.Code/100 == 3 || answer.Code == http.StatusBadRequest && answer.Body.Len() == 0 {
			return // net/http's own: to the clean form of a path such as /v1//status, or refused, such as the URI *
		}
		if !json.Valid(answer.Body.Bytes()) {
			t.Fatalf("%q: %d with no document: %q", data, answer.Code, answer.Body)
		}
		switch answer.Code {
		case http.StatusOK:
		case http.StatusBadRequest:
			if len(b.asked) > 0 {
				t.Fatalf("%q: refused, but the switch was asked %v", data, b.asked)
			}
		default:
			t.Fatalf("%q: status %d: %s", data, answer.Code, answer.Body)
		}
	})
}
