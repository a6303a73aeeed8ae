package api

import (
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
type Client struct{ http http.Client }

// NewClient returns a Client of the switch that listens at path.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

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

// call sends one request and decodes its answer. It returns *Error if the
// switch refused, ErrNotRunning if there is none, and ErrGone if it hung up.
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
	answer, err := c.http.Do(request)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return reply, ErrNotRunning
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF):
		return reply, ErrGone
	default:
		return reply, fmt.Errorf("control socket: %w", errors.Unwrap(err))
	}
	defer answer.Body.Close()
	content := json.NewDecoder(io.LimitReader(answer.Body, maxReply))
	if answer.StatusCode != http.StatusOK {
		refused := &Error{}
		if err := content.Decode(refused); err != nil || refused.Message == "" {
			return reply, fmt.Errorf("control socket: the switch answered %s", answer.Status)
		}
		return reply, refused
	}
	if err := content.Decode(&reply); err != nil {
		return reply, fmt.Errorf("control socket: answer to %s: %w", path, err)
	}
	return reply, nil
}
