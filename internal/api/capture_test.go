package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Capture streams "head" and, when its client asks for the end, "tail". Asked for a
// count it ends by itself, and for no instance it fails in the middle.
func (f *fake) Capture(ctx context.Context, r CaptureRequest, w io.Writer) error {
	f.asked = append(f.asked, fmt.Sprintf("%+v", r))
	if f.err != nil {
		return f.err
	}
	if _, err := io.WriteString(w, "head"); err != nil {
		return err
	}
	if len(r.Instances) == 0 {
		return errors.New("the switch has failed")
	}
	if r.Count == 0 {
		<-ctx.Done()
	}
	_, err := io.WriteString(w, "tail")
	return err
}

// A client gets what was captured as it comes, and the rest after it has asked for
// the end, however long that was after its request.
func TestCaptureStreams(t *testing.T) {
	const deadline = 50 * time.Millisecond // of the server: a capture outlives it
	b := &fake{}
	c := NewClient(serve(t, b, deadline))
	want := CaptureRequest{Instances: []string{"web1", "app1"}, Dropped: true, Segments: true, Filter: "tcp port 80", Snap: 96}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := c.Capture(ctx, want, func(stream io.Reader) error {
		head := make([]byte, 4)
		if _, err := io.ReadFull(stream, head); err != nil || string(head) != "head" {
			return fmt.Errorf("got %q: %w", head, err)
		}
		// Longer than the server waits for a request: nothing but the client may end it.
		time.AfterFunc(4*deadline, cancel)
		began := time.Now()
		tail, err := io.ReadAll(stream)
		if err != nil || string(tail) != "tail" || time.Since(began) < 3*deadline {
			return fmt.Errorf("got %q after %v: %w", tail, time.Since(began), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{fmt.Sprintf("%+v", want)}, b.asked); diff != "" {
		t.Errorf("the backend was asked (-want +got):\n%s", diff)
	}

	want = CaptureRequest{Instances: []string{"web1"}, Count: 3}
	err = c.Capture(context.Background(), want, func(stream io.Reader) error {
		all, err := io.ReadAll(stream)
		if string(all) != "headtail" {
			t.Errorf("with an end of its own: %q", all)
		}
		return err
	})
	if err != nil || b.asked[1] != fmt.Sprintf("%+v", want) {
		t.Errorf("asked %q: %v", b.asked[1], err)
	}
}

// A stream that is cut off is not taken for a complete one, a refusal is one, and
// what read returns is passed on.
func TestCaptureFails(t *testing.T) {
	b := &fake{}
	path := serve(t, b, clientDeadline)
	c := NewClient(path)
	ctx := context.Background()
	whole := func(stream io.Reader) error { _, err := io.ReadAll(stream); return err }
	if err := c.Capture(ctx, CaptureRequest{}, whole); !errors.Is(err, ErrGone) {
		t.Errorf("cut off: %v", err)
	}
	full := errors.New("the disk is full")
	if err := c.Capture(ctx, CaptureRequest{Instances: []string{"web1"}, Count: 1}, func(io.Reader) error { return full }); !errors.Is(err, full) {
		t.Errorf("a reader that fails: %v", err)
	}
	b.err = &Error{KindBusy, "4 captures run already"}
	var refused *Error
	if err := c.Capture(ctx, CaptureRequest{Instances: []string{"web1"}}, whole); !errors.As(err, &refused) || *refused != *b.err.(*Error) {
		t.Errorf("refused: %v", err)
	}
	if err := NewClient(path+"-not").Capture(ctx, CaptureRequest{}, whole); !errors.Is(err, ErrNotRunning) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestCaptureParameters(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"instance=a&instance=b&snap=0&count=7&dropped=1", "{[a b] true  false 0 7}"},
		{"instances=a", `capture has no parameter "instances"`},
		{"snap=-1", `snap "-1": value out of range`},
		{"snap=1000000", `snap "1000000": value out of range`},
		{"count=x", `count "x": invalid syntax`},
		{"dropped=maybe", `dropped "maybe": invalid syntax`},
	} {
		r, err := http.NewRequest("GET", "/?"+c.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		request, err := captureRequest(r.URL.Query())
		got := fmt.Sprint(request)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.query, got, c.want)
		}
	}
	if _, err := captureRequest((&CaptureRequest{Filter: strings.Repeat("x", 9)}).values()); err != nil {
		t.Error(err)
	}
}
