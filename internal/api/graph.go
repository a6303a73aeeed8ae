package api

import (
	"context"
	"net/http"

	"vswitch/internal/graph"
)

// PathGraph is where the drawing of the running VPC is.
const PathGraph = "/v1/graph"

// A Drawer has the running VPC as a graph.
type Drawer interface {
	Graph() (*graph.Graph, error)
}

// Graph returns the running VPC as a graph: who may talk to whom.
func (c *Client) Graph(ctx context.Context) (*graph.Graph, error) {
	return call[*graph.Graph](ctx, c, http.MethodGet, PathGraph, nil, readDeadline)
}

func (s *Server) graph(*http.Request) (any, error) { return s.backend.Graph() }
