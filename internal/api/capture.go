package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// PathCapture is the path of the call that streams frames.
const PathCapture = "/v1/capture"

// typeCapture is the media type of its answer.
const typeCapture = "application/x-pcapng"

// Deadlines of a capture. Whoever reads it may pause; frames are lost then, and in
// the end the capture.
const (
	captureStall = time.Minute     // for a client to take what was written
	captureEnd   = 5 * time.Second // for the switch to end a stream
)

// A CaptureRequest says which frames to stream.
type CaptureRequest struct {
	Instances []string // none means all, those that a reload adds included
	Dropped   bool     // only frames that the switch dropped
	Filter    string   // an expression as tcpdump has them
	Segments  bool     // superframes are cut into what goes over a wire
	Snap      int      // bytes kept of each frame; 0 means all
	Count     uint64   // of frames, after which the stream ends; 0 means no end
}

// MaxSnap is the largest Snap that means anything: the longest frame.
const MaxSnap = 1 << 17

// A Capturer streams frames.
type Capturer interface {
	// Capture writes a pcapng stream to w until ctx ends, as many frames were
	// written as were asked for, or the switch ends. An error before the first byte
	// is a refusal.
	Capture(ctx context.Context, r CaptureRequest, w io.Writer) error
}

// values returns the parameters of the call.
func (r *CaptureRequest) values() url.Values {
	q := url.Values{}
	for _, name := range r.Instances {
		q.Add("instance", name)
	}
	for key, set := range map[string]bool{"dropped": r.Dropped, "segments": r.Segments} {
		if set {
			q.Set(key, "true")
		}
	}
	if r.Filter != "" {
		q.Set("filter", r.Filter)
	}
	if r.Snap > 0 {
		q.Set("snap", strconv.Itoa(r.Snap))
	}
	if r.Count > 0 {
		q.Set("count", strconv.FormatUint(r.Count, 10))
	}
	return q
}

// captureRequest reads the parameters of the call.
func captureRequest(q url.Values) (r CaptureRequest, err error) {
	for key, values := range q {
		text := values[len(values)-1]
		switch key {
		case "instance":
			r.Instances = values
		case "filter":
			r.Filter = text
		case "dropped":
			r.Dropped, err = strconv.ParseBool(text)
		case "segments":
			r.Segments, err = strconv.ParseBool(text)
		case "snap":
			if r.Snap, err = strconv.Atoi(text); err == nil && (r.Snap < 0 || r.Snap > MaxSnap) {
				err = strconv.ErrRange
			}
		case "count":
			r.Count, err = strconv.ParseUint(text, 10, 64)
		default:
			return r, &Error{KindUsage, fmt.Sprintf("capture has no parameter %q", key)}
		}
		if err != nil {
			var number *strconv.NumError
			if errors.As(err, &number) {
				err = number.Err
			}
			return r, &Error{KindUsage, fmt.Sprintf("%s %q: %v", key, text, err)}
		}
	}
	return r, nil
}

// capture streams frames until the client hangs up its half of the connection, or
// the capture has an end of its own.
func (s *Server) capture(w http.ResponseWriter, r *http.Request) {
	out := &captureStream{w: w, control: http.NewResponseController(w)}
	_, err := admitted(func(r *http.Request) (any, error) {
		request, err := captureRequest(r.URL.Query())
		if err != nil {
			return nil, err
		}
		return nil, s.backend.Capture(r.Context(), request, out)
	})(r)
	switch {
	case err != nil && !out.begun:
		s.answer(func(*http.Request) (any, error) { return nil, err })(w, r)
	case err != nil:
		s.log.Debug("capture cut off", "error", err)
		panic(http.ErrAbortHandler) // the client shall not take it for complete
	}
}

// A captureStream is the body of an answer that goes out as it is written.
type captureStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

// Write implements io.Writer.
func (c *captureStream) Write(b []byte) (int, error) {
	if !c.begun {
		c.begun = true
		c.w.Header().Set("Content-Type", typeCapture)
	}
	if err := c.control.SetWriteDeadline(time.Now().Add(captureStall)); err != nil {
		return 0, err
	}
	n, err := c.w.Write(b)
	return n, errors.Join(err, c.control.Flush())
}

// Capture hands a stream of frames to read, from when the capture runs until it
// ends. When ctx does, the switch is asked to end the stream, and what it had copied
// until then still comes. It returns *Error if the switch refused, ErrNotRunning if
// there is none, and otherwise the error of read, whose stream returns ErrGone if the
// switch hung up.
func (c *Client) Capture(ctx context.Context, r CaptureRequest, read func(io.Reader) error) error {
	conn, err := net.DialTimeout("unix", c.path, readDeadline)
	if err != nil {
		return failure(ctx, err)
	}
	defer conn.Close()
	request, err := http.NewRequest(http.MethodGet, "http://vswitch"+PathCapture+"?"+r.values().Encode(), nil)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(readDeadline)); err != nil {
		return err
	}
	sendErr := request.Write(conn)
	answer, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return failure(ctx, errors.Join(err, sendErr))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refusal(answer, json.NewDecoder(io.LimitReader(answer.Body, maxReply)))
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		// Both fail only on a connection that is closed already.
		_ = conn.(*net.UnixConn).CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(captureEnd))
	})
	defer stop()
	return read(unended{answer.Body})
}

// unended reads a stream whose end the other side must have sent.
type unended struct{ io.Reader }

// Read implements io.Reader.
func (u unended) Read(b []byte) (int, error) {
	n, err := u.Reader.Read(b)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		err = ErrGone
	}
	return n, err
}
