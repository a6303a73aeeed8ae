package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"vswitch/internal/api"
)

const topLong = `Show the ports with their rates, the busiest flows, the rules that decide, and
what is dropped and why, anew each second. RX is what an instance received, TX
what it sent; drops are counted at the sender. Rules that deny come first. Narrow
terminals show fewer columns, and low ones fewer rows.

Keys: q quits, s changes the order of the ports, p pauses, the arrows scroll.

Without a terminal, -n prints so many screens, each over one second, and ends;
--once is -n 1. -o json prints the flows and rules of one second; the ports are in
"vswitch status -o json". Programs that watch had better take the metrics
([api] metrics = "127.0.0.1:9464" in the file).`

func newTop(c *cli) *cobra.Command {
	once, screens := false, 0
	cmd := &cobra.Command{
		Use:         "top",
		Short:       "Show ports, flows, rules and drops as they change",
		Long:        topLong,
		Example:     "  vswitch top\n  vswitch top --once\n  vswitch top -o json",
		GroupID:     groupInspect,
		Args:        noArgs(),
		Annotations: map[string]string{formatsKey: formatsPlain},
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case once && cmd.Flags().Changed("count"):
				return usagef("--once means -n 1, and -n %d was asked for as well", screens)
			case cmd.Flags().Changed("count") && screens < 1:
				return usagef("-n %d: want 1 or more", screens)
			case c.format == formatJSON && screens > 1:
				return usagef("-o json prints one document, and -n %d asks for more screens", screens)
			case once, c.format == formatJSON:
				screens = 1
			}
			return c.top(screens)
		},
	}
	cmd.Flags().IntVarP(&screens, "count", "n", 0, "print so many screens to standard output, and end")
	cmd.Flags().BoolVar(&once, "once", false, "the same as -n 1")
	return cmd
}

// topInterval is the time from one screen of top to the next.
const topInterval = time.Second

// top shows so many screens, or those that the user wants to see if 0.
func (c *cli) top(screens int) error {
	s, client, err := c.client(toRead)
	if err != nil {
		return err
	}
	ask := func(over time.Duration) (topLook, error) {
		look, err := askTop(client, over)
		return look, notRunning(s, err)
	}
	if screens > 0 {
		return c.printTop(screens, ask)
	}
	if !isTerminal(c.in) || !isTerminal(c.out) {
		return errors.New("top: needs a terminal: --once prints one screen without")
	}
	first, err := ask(0)
	if err != nil {
		return err
	}
	m := &topModel{ask: ask, view: newTopView(nil, &first), screen: topScreen{keys: true}}
	if _, err := tea.NewProgram(m, tea.WithInput(c.in), tea.WithOutput(c.out)).Run(); err != nil && !errors.Is(err, tea.ErrInterrupted) {
		return fmt.Errorf("top: %w", err)
	}
	return m.err
}

// A topLook is what top knows of one moment, and of the time before it.
type topLook struct {
	status  api.Status
	busiest api.Busiest // until then; zero for the first look
}

// A topAsk returns the next look, after so much time. 0 is for the first one.
type topAsk func(over time.Duration) (topLook, error)

// topLimit is how many flows and rules top asks for. More than that fit on no screen.
const topLimit = 100

// askTop is a topAsk of a running switch.
func askTop(client *api.Client, over time.Duration) (look topLook, err error) {
	if over > 0 {
		if look.busiest, err = client.Busiest(context.Background(), api.BusiestRequest{Over: over, Limit: topLimit}); err != nil {
			return look, err
		}
	}
	look.status, err = client.Status(context.Background())
	return look, err
}

// printTop prints so many screens, each over one interval, or the document of one.
func (c *cli) printTop(screens int, ask topAsk) error {
	old, err := ask(0)
	if err != nil {
		return err
	}
	for i := range screens {
		now, err := ask(topInterval)
		if err != nil {
			return err
		}
		if c.format == formatJSON {
			return api.Encode(c.out, now.busiest)
		}
		lines, _ := newTopView(&old, &now).lines(topScreen{})
		var b strings.Builder
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, l := range lines {
			b.WriteString(l.text + "\n")
		}
		if _, err := fmt.Fprint(c.out, b.String()); err != nil {
			return err
		}
		old = now
	}
	return nil
}

// A topModel is top on a terminal. The library calls its methods one at a time.
type topModel struct {
	ask    topAsk
	view   *topView
	screen topScreen
	scroll int   // how many ports can be scrolled away
	err    error // why it ended
}

// A topAnswer is the next look, or why there is none.
type topAnswer struct {
	look topLook
	err  error
}

// Init implements tea.Model.
func (m *topModel) Init() tea.Cmd { return m.next }

// next waits for the next look.
func (m *topModel) next() tea.Msg {
	look, err := m.ask(topInterval)
	return topAnswer{look, err}
}

// Update implements tea.Model.
func (m *topModel) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		m.screen.width, m.screen.height = message.Width, message.Height
	case tea.KeyPressMsg:
		return m, m.pressed(message.String())
	case topAnswer:
		if message.err != nil {
			m.err = message.err
			return m, tea.Quit
		}
		if !m.screen.paused { // it may be by now
			m.view = newTopView(m.view.look, &message.look)
		}
		return m, m.next
	}
	return m, nil
}

// pressed does what a key asks for.
func (m *topModel) pressed(key string) tea.Cmd {
	page := max(1, m.screen.height/2)
	by := 0
	switch key {
	case "q", "Q", "esc", "ctrl+c":
		return tea.Quit
	case "s":
		m.screen.order = (m.screen.order + 1) % topOrders
		m.screen.first = 0
	case "p", "space":
		m.screen.paused = !m.screen.paused
	case "down", "j":
		by = 1
	case "up", "k":
		by = -1
	case "pgdown":
		by = page
	case "pgup":
		by = -page
	case "home":
		by = -m.screen.first
	case "end":
		by = m.scroll
	}
	m.screen.first = min(max(0, m.screen.first+by), m.scroll)
	return nil
}

// topStyles are the looks of the moods. The library leaves the colours out where
// the terminal has none, or NO_COLOR is set.
var topStyles = map[mood]lipgloss.Style{
	plain:   lipgloss.NewStyle(),
	heading: lipgloss.NewStyle().Bold(true),
	faint:   lipgloss.NewStyle().Faint(true),
	alarm:   lipgloss.NewStyle().Foreground(lipgloss.Red),
	warning: lipgloss.NewStyle().Foreground(lipgloss.Yellow),
}

// View implements tea.Model.
func (m *topModel) View() tea.View {
	var b strings.Builder
	if m.screen.height > 0 { // else its size is not known yet
		lines, scroll := m.view.lines(m.screen)
		m.scroll = scroll
		for i, l := range lines {
			if i > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(topStyles[l.mood].Render(l.text))
		}
	}
	view := tea.NewView(b.String())
	view.AltScreen = true
	return view
}
