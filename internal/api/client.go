package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// Errors of a Client's calls for a switch that does not answer.
var (
	ErrNotRunning = errors.New("the switch is not running")       // nobody listens
	ErrGone       = errors.New("the switch ended while we asked") // it hung up without an answer
)

// Deadlines of a client's calls. A reload or a stop of a large lab makes and
// removes namespaces and waits for commands to end.
const (
	readDeadline   = 10 * time.Second
	changeDeadline = time.Minute
)

// maxReply bounds what a client reads: MaxConnections connections take about
// 30 MB.
const maxReply = 64 << 20

// A Client calls the API of one running switch. It keeps no connection open.
type Client struct{ path string }

// NewClient returns a Client of the switch that listens at path.
func NewClient(path string) *Client { return &Client{path} }

// Status returns what runs.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, PathStatus, nil, readDeadline)
}

// Connections returns at most limit tracked connections of an instance, "" for all.
func (c *Client) Connections(ctx context.Context, instance string, limit int) (Connections, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if instance != "" {
		query.Set("instance", instance)
	}
	return call[Connections](ctx, c, http.MethodGet, PathConnections+"?"+query.Encode(), nil, readDeadline)
}

// Reload makes the switch read its file again.
func (c *Client) Reload(ctx context.Context, r ReloadRequest) (ReloadReply, error) {
	return call[ReloadReply](ctx, c, http.MethodPost, PathReload, r, changeDeadline)
}

// Stop ends the switch. It returns when what the switch made is removed, a
// moment before its process is gone.
func (c *Client) Stop(ctx context.Context) (StopReply, error) {
	return call[StopReply](ctx, c, http.MethodPost, PathStop, nil, changeDeadline)
}

// call sends one request on a connection of its own and decodes the answer. It
// returns *Error if the switch refused, ErrNotRunning if there is none, and
// ErrGone if it hung up.
func call[Reply any](ctx context.Context, c *Client, method, path string, body any, deadline time.Duration) (reply Reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return reply, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://vswitch"+path, &sent)
	if err != nil {
		return reply, err
	}
	err = c.exchange(ctx, request, func(answer *http.Response) error {
		content := json.NewDecoder(io.LimitReader(answer.Body, maxReply))
		if answer.StatusCode == http.StatusOK {
			return content.Decode(&reply)
		}
		return refusal(answer, content)
	})
	return reply, failure(ctx, err)
}

// refusal returns the *Error that the switch has answered.
func refusal(answer *http.Response, content *json.Decoder) error {
	refused := &Error{}
	if err := content.Decode(refused); err != nil || refused.Message == "" {
		return fmt.Errorf("the switch answered %s", answer.Status)
	}
	return refused
}

// failure says what an error of a call means.
func failure(ctx context.Context, err error) error {
	var refused *Error
	switch {
	case err == nil, errors.As(err, &refused):
		return err
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return ErrNotRunning
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrGone
	}
	return fmt.Errorf("control socket: %w", err)
}

// exchange connects, sends the request, and hands the answer to read. When ctx
// ends, so does the connection.
func (c *Client) exchange(ctx context.Context, request *http.Request, read func(*http.Response) error) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	// A switch that refuses may answer before it has read everything.
	sendErr := request.Write(conn)
	answer, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return errors.Join(err, sendErr)
	}
	defer answer.Body.Close()
	return read(answer)
}
