package conntrack_test

import (
	"testing"

	"vswitch/conntrack"
)

// handshake is how most of the tables below begin: a, the client, has sent up to
// 1001, b up to 5001. Neither scales its windows, of 64,240 bytes.
const handshake = `
	a S  seq=1000          | new syn-sent
	b SA seq=5000 ack=1001 | pass syn-received
	a A  seq=1001 ack=5001 | pass established
`

// closing follows handshake: both ends have closed, in the usual order.
const closing = `
	a FA seq=1001 ack=5001 | pass closing
	b A  seq=5001 ack=1002 | pass closing
	b FA seq=5001 ack=1002 | pass closing
	a A  seq=1002 ack=5002 | pass closed
`

// A conversationTest is a row of the tables below.
type conversationTest struct{ name, lines string }

// testConversations runs each table on Trackers of its own.
func testConversations(t *testing.T, l conntrack.Limits, tests []conversationTest) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { newConversation(t, l).run(test.lines) })
	}
}

// RFC 9293 section 3.5; reliability row T9.
func TestHandshake(t *testing.T) {
	testConversations(t, conntrack.Limits{}, []conversationTest{
		{"three segments", handshake + `opener a`},
		{"the client has the higher address", `
			b S  seq=1000          | new syn-sent
			a SA seq=5000 ack=1001 | pass syn-received
			b A  seq=1001 ack=5001 | pass established
			opener b`},
		{"data instead of the last acknowledgement", `
			a S  seq=1000                  | new syn-sent
			b SA seq=5000 ack=1001         | pass syn-received
			a PA seq=1001 ack=5001 len=100 | pass established`},
		{"the last acknowledgement is overtaken by data", `
			a S  seq=1000                  | new syn-sent
			b SA seq=5000 ack=1001         | pass syn-received
			a PA seq=1001 ack=5001 len=100 | pass established
			a A  seq=1001 ack=5001         | pass established`},
		{"a FIN instead of the last acknowledgement", `
			a S  seq=1000          | new syn-sent
			b SA seq=5000 ack=1001 | pass syn-received
			a FA seq=1001 ack=5001 | pass closing`},
		{"every segment is repeated", `
			a S  seq=1000          | new syn-sent
			a S  seq=1000          | pass syn-sent
			b SA seq=5000 ack=1001 | pass syn-received
			a S  seq=1000          | ignore syn-received
			b SA seq=5000 ack=1001 | ignore syn-received
			a A  seq=1001 ack=5001 | pass established
			b SA seq=5000 ack=1001 | ignore established
			a A  seq=1001 ack=5001 | pass established
			a S  seq=1000          | ignore established
			b A  seq=5001 ack=1001 | pass established`},
		{"a late copy of the SYN does not make the SYN-ACK that of another connection", handshake + `
			a S  seq=1000          | ignore established
			b SA seq=5000 ack=1001 | ignore established
			b A  seq=5001 ack=1001 len=66000 | pass established
			b A  seq=71001 ack=1001 len=1    | drop window`},
		{"tried anew with another sequence number", `
			a S  seq=1000          | new syn-sent
			a S  seq=2000          | pass syn-sent
			b SA seq=5000 ack=1001 | drop state
			b SA seq=5000 ack=2001 | pass syn-received
			a A  seq=2001 ack=5001 | pass established`},
		{"the SYN-ACK acknowledges nothing that was sent", `
			a S  seq=1000          | new syn-sent
			b SA seq=5000 ack=1000 | drop state
			b SA seq=5000 ack=1002 | drop state
			b SA seq=5000 ack=0    | drop state
			b SA seq=5000 ack=1001 | pass syn-received`},
		{"the opener's own SYN-ACK answers nothing", `
			a S  seq=1000          | new syn-sent
			a SA seq=5000 ack=1001 | drop state`},
		{"nothing but an answer passes before the answer", `
			a S  seq=1000                   | new syn-sent
			a A  seq=1001 ack=5001          | drop state
			a A  seq=1001 ack=5001 len=10   | drop state
			a FA seq=1001 ack=5001          | drop state
			b A  seq=5001 ack=1001 len=10   | drop state
			b FA seq=5001 ack=1001          | drop state`},
		{"SYN cookies: a repeated SYN gets another sequence number", `
			a S  seq=1000                   | new syn-sent
			b SA seq=5000 ack=1001          | pass syn-received
			a S  seq=1000                   | ignore syn-received
			b SA seq=4000000000 ack=1001    | pass syn-received
			a A  seq=1001 ack=4000000001    | pass established
			b A  seq=4000000001 ack=1001 len=1000 | pass established`},
		{"the SYN-ACK of a stranger in syn-received", `
			a S  seq=1000                   | new syn-sent
			b SA seq=5000 ack=1001          | pass syn-received
			b SA seq=4000000000 ack=1002    | drop window
			b SA seq=4000000000 ack=1000    | drop window
			a SA seq=4000000000 ack=5001    | drop window`},
		{"only the opener's acknowledgement of the SYN establishes", `
			a S  seq=1000                   | new syn-sent
			b SA seq=5000 ack=1001          | pass syn-received
			b A  seq=5001 ack=1001 len=10   | pass syn-received
			a A  seq=1001 ack=4999          | pass syn-received
			a A  seq=1001 ack=5001          | pass established`},
		{"the sequence numbers wrap", `
			a S  seq=4294967295                   | new syn-sent
			a S  seq=4294967295                   | pass syn-sent
			b SA seq=4294967294 ack=0             | pass syn-received
			b SA seq=4294967294 ack=0             | ignore syn-received
			a A  seq=0 ack=4294967295             | pass established
			a A  seq=0 ack=4294967295 len=1000    | pass established
			b A  seq=4294967295 ack=1000 len=1000 | pass established
			a A  seq=1000 ack=999                 | pass established
			a R  seq=1000                         | end`},
		{"the opener aborts", `
			a S  seq=1000          | new syn-sent
			a R  seq=1001          | end`},
		{"ECN is negotiated", `
			a SEC seq=1000          | new syn-sent
			b SAE seq=5000 ack=1001 | pass syn-received
			a AC  seq=1001 ack=5001 len=10 | pass established`},
		{"urgent data", `
			a SU  seq=1000          | new syn-sent
			b SA  seq=5000 ack=1001 | pass syn-received
			a AU  seq=1001 ack=5001 len=1 | pass established
			a FAU seq=1002 ack=5001 len=1 | pass closing`},
	})
}

// RFC 9293 section 3.5, figure 8; reliability row T9.
func TestSimultaneousOpen(t *testing.T) {
	testConversations(t, conntrack.Limits{}, []conversationTest{
		{"both send SYN, then SYN-ACK", `
			a S  seq=1000 scale=7          | new syn-sent
			b S  seq=5000 scale=7          | pass syn-received
			b SA seq=5000 ack=1001 scale=7 | ignore syn-received
			a SA seq=1000 ack=5001 scale=7 | pass established
			a A  seq=1001 ack=5001 win=2000      | pass established
			b A  seq=5001 ack=1001 len=256000    | pass established
			b A  seq=261001 ack=1001 len=1       | drop window
			opener a`},
		{"established by the opener's SYN-ACK, if neither end sends more", `
			a S  seq=1000          | new syn-sent
			b S  seq=5000          | pass syn-received
			a SA seq=1000 ack=5001 | pass established
			b SA seq=5000 ack=1001 | ignore established
			wait 1h
			b A  seq=5001 ack=1001 len=10 | pass established`},
		{"one of the two does not scale", `
			a S  seq=1000 scale=7          | new syn-sent
			b S  seq=5000                  | pass syn-received
			a SA seq=1000 ack=5001 scale=7 | pass established
			a A  seq=1001 ack=5001 win=65535  | pass established
			b A  seq=5001 ack=1001 len=66001  | drop window`},
		{"the windows of both SYNs count", `
			a S  seq=1000 win=65535         | new syn-sent
			b S  seq=5000 win=65535         | pass syn-received
			a SA seq=1000 ack=5001 win=100  | pass established
			a A  seq=1001 ack=5001 len=66000 | pass established
			b A  seq=5001 ack=1001 len=66000 | pass established`},
		{"the SYNs are repeated", `
			a S  seq=1000          | new syn-sent
			b S  seq=5000          | pass syn-received
			b S  seq=5000          | ignore syn-received
			a S  seq=1000          | ignore syn-received
			a SA seq=1000 ack=5001 | pass established
			b SA seq=5000 ack=1001 | ignore established
			opener a`},
		{"the split handshake is followed, and the connection stays that of the first SYN", `
			a S  seq=1000          | new syn-sent
			b A  seq=4999 ack=1001 | ignore syn-sent
			b S  seq=5000          | pass syn-received
			a SA seq=1000 ack=5001 | pass established
			b A  seq=5001 ack=1001 | pass established
			opener a`},
		{"the split handshake without its first answer", `
			a S  seq=1000          | new syn-sent
			b S  seq=5000          | pass syn-received
			a SA seq=1000 ack=5001 | pass established
			b A  seq=5001 ack=1001 len=10 | pass established`},
	})
}

// RFC 7413; reliability row T9.
func TestDataInSYN(t *testing.T) {
	testConversations(t, conntrack.Limits{}, []conversationTest{
		{"accepted", `
			a S  seq=1000 len=500  | new syn-sent
			b SA seq=5000 ack=1501 | pass syn-received
			a A  seq=1501 ack=5001 | pass established`},
		{"not accepted", `
			a S  seq=1000 len=500  | new syn-sent
			b SA seq=5000 ack=1001 | pass syn-received
			a PA seq=1001 ack=5001 len=500 | pass established
			b A  seq=5001 ack=1501 | pass established`},
		{"accepted, but the SYN was repeated without data meanwhile", `
			a S  seq=1000 len=500  | new syn-sent
			a S  seq=1000          | pass syn-sent
			b SA seq=5000 ack=1501 | pass syn-received
			a A  seq=1501 ack=5001 | pass established`},
		{"the first SYN had none, the second one has", `
			a S  seq=1000 scale=0          | new syn-sent
			a S  seq=1000 len=500 scale=7  | pass syn-sent
			b SA seq=5000 ack=1501 scale=7 | pass syn-received
			a A  seq=1501 ack=5001 win=1000   | pass established
			b A  seq=5001 ack=1501 len=128000 | pass established`},
		{"more is acknowledged than was sent", `
			a S  seq=1000 len=500  | new syn-sent
			b SA seq=5000 ack=1502 | drop state`},
		{"the answer comes with data, up to the whole window", `
			a S  seq=1000 len=500  | new syn-sent
			b SA seq=5000 ack=1501 len=1000   | pass syn-received
			b A  seq=6001 ack=1501 len=65000  | pass syn-received
			b A  seq=71001 ack=1501 len=1     | drop window
			a A  seq=1501 ack=71001           | pass established`},
		{"refused, with or without the data acknowledged", `
			a S  seq=1000 len=500  | new syn-sent
			b RA seq=0 ack=1501    | end
			a S  seq=1000 len=500  | new syn-sent
			b RA seq=0 ack=1001    | end
			a S  seq=1000 len=500  | new syn-sent
			b RA seq=0 ack=1502    | drop state`},
		{"aborted by the opener", `
			a S  seq=1000 len=500  | new syn-sent
			a R  seq=1501          | end
			a S  seq=1000 len=500  | new syn-sent
			a R  seq=1001          | end`},
		{"SYN cookies answer twice", `
			a S  seq=1000 len=500           | new syn-sent
			b SA seq=5000 ack=1501          | pass syn-received
			b SA seq=4000000000 ack=1001    | pass syn-received
			a A  seq=1001 ack=4000000001 len=500 | pass established`},
	})
}

// RFC 7323 section 2.
func TestWindowScale(t *testing.T) {
	testConversations(t, conntrack.Limits{}, []conversationTest{
		{"both scale", `
			a S  seq=1000 scale=7                | new syn-sent
			b SA seq=5000 ack=1001 scale=10      | pass syn-received
			a A  seq=1001 ack=5001 win=1000      | pass established
			b A  seq=5001 ack=1001 len=128000 win=100 | pass established
			b A  seq=133001 ack=1001 len=1       | drop window
			a A  seq=1001 ack=5001 len=102400    | pass established
			a A  seq=103401 ack=5001 len=1       | drop window`},
		{"the windows of SYN and SYN-ACK are never scaled", `
			a S  seq=1000 win=65535 scale=14          | new syn-sent
			b SA seq=5000 ack=1001 win=65535 scale=14 | pass syn-received
			b A  seq=5001 ack=1001 len=66001          | drop window
			b A  seq=5001 ack=1001 len=65535          | pass syn-received`},
		{"only the opener offers to", `
			a S  seq=1000 scale=7           | new syn-sent
			b SA seq=5000 ack=1001          | pass syn-received
			a A  seq=1001 ack=5001 win=65535 | pass established
			b A  seq=5001 ack=1001 len=66001 | drop window`},
		{"only the other end offers to", `
			a S  seq=1000                   | new syn-sent
			b SA seq=5000 ack=1001 scale=7  | pass syn-received
			a A  seq=1001 ack=5001 win=65535 | pass established
			b A  seq=5001 ack=1001 len=66001 | drop window`},
		{"a repeated SYN leaves the option out, and the answer is to the first", `
			a S  seq=1000 scale=7                | new syn-sent
			a S  seq=1000                        | pass syn-sent
			b SA seq=5000 ack=1001 scale=10      | pass syn-received
			a A  seq=1001 ack=5001 win=1000      | pass established
			b A  seq=5001 ack=1001 len=128000    | pass established`},
		{"a scale of zero is one", `
			a S  seq=1000 scale=0               | new syn-sent
			b SA seq=5000 ack=1001 scale=7      | pass syn-received
			b A  seq=5001 ack=1001 win=1000     | pass syn-received
			a A  seq=1001 ack=5001 len=128000   | pass established
			b A  seq=5001 ack=129001 len=66001  | drop window`},
		{"the scale of the second answer counts", `
			a S  seq=1000 scale=7              | new syn-sent
			b SA seq=5000 ack=1001             | pass syn-received
			b SA seq=3000000000 ack=1001 scale=2 | pass syn-received
			a A  seq=1001 ack=3000000001 win=1000  | pass established
			b A  seq=3000000001 ack=1001 len=128000  | pass established`},
	})
}

// RFC 9293 section 3.10.7.4: what is in the window, as a middle box sees it.
func TestWindow(t *testing.T) {
	testConversations(t, conntrack.Limits{}, []conversationTest{
		{"retransmission of everything that is not acknowledged", handshake + `
			a A seq=1001  ack=5001 len=30000 | pass established
			a A seq=31001 ack=5001 len=30000 | pass established
			a A seq=1001  ack=5001 len=1460  | pass established
			a A seq=2461  ack=5001 len=60000 | pass established`},
		{"retransmission after an acknowledgement that was lost", handshake + `
			a A seq=1001  ack=5001 len=60000 | pass established
			b A seq=5001  ack=61001          | pass established
			a A seq=1001  ack=5001 len=1460  | pass established`},
		{"segments overtake each other", handshake + `
			a A seq=3921 ack=5001 len=1460 | pass established
			a A seq=2461 ack=5001 len=1460 | pass established
			b A seq=5001 ack=5381          | pass established
			a A seq=1001 ack=5001 len=1460 | pass established
			b A seq=5001 ack=1001          | pass established`},
		{"keep-alive, with and without a byte of garbage", handshake + `
			a A seq=1000 ack=5001          | pass established
			b A seq=5001 ack=1001          | pass established
			a A seq=1000 ack=5001 len=1    | pass established`},
		{"zero window and its probes", handshake + `
			a A seq=1001 ack=5001 len=64240        | pass established
			b A seq=5001 ack=65241 win=0           | pass established
			a A seq=65240 ack=5001                 | pass established
			a A seq=65241 ack=5001 len=1           | pass established
			b A seq=5001 ack=65241 win=0           | pass established
			a A seq=65241 ack=5001 len=1           | pass established
			b A seq=5001 ack=65242 win=64240       | pass established
			a A seq=65242 ack=5001 len=64240       | pass established`},
		{"a window of zero from the start, probed", `
			a S  seq=1000                         | new syn-sent
			b SA seq=5000 ack=1001 win=0          | pass syn-received
			a A  seq=1001 ack=5001                | pass established
			a A  seq=1001 ack=5001 len=1          | pass established
			b A  seq=5001 ack=1001 win=0          | pass established
			b A  seq=5001 ack=1002 win=1          | pass established
			a A  seq=1002 ack=5001 len=1          | pass established`},
		{"superframes of 64,000 bytes", handshake + `
			a A seq=1001  ack=5001 len=64000 | pass established
			b A seq=5001  ack=65001          | pass established
			a A seq=65001 ack=5001 len=64000 | pass established
			b A seq=5001  ack=129001 len=64000 | pass established`},
		{"no more than was offered", handshake + `
			a A seq=1001 ack=5001 len=66000  | pass established
			a A seq=67001 ack=5001 len=1     | drop window
			b A seq=5001 ack=2001            | pass established
			a A seq=67001 ack=5001 len=1000  | pass established
			a A seq=68001 ack=5001 len=1     | drop window`},
		{"nothing is acknowledged that was not sent", handshake + `
			b A seq=5001 ack=1002            | drop window
			b A seq=5001 ack=1001            | pass established
			a A seq=1001 ack=5001 len=10     | pass established
			b A seq=5001 ack=1011            | pass established
			b A seq=5001 ack=1012            | drop window`},
		{"neither data nor acknowledgements from long ago", handshake + `
			a A seq=1001 ack=5001 len=64000  | pass established
			b A seq=5001 ack=65001           | pass established
			a A seq=65001 ack=5001 len=10000 | pass established
			b A seq=5001 ack=75001           | pass established
			a A seq=9001 ack=5001 len=100    | pass established
			a A seq=9000 ack=5001 len=100    | drop window
			b A seq=5001 ack=9001            | pass established
			b A seq=5001 ack=9000            | drop window`},
		{"reliability row T2: blind data neither passes nor refreshes", handshake + `
			a A seq=3000000000 ack=5001 len=100 | drop window
			a A seq=1001 ack=3000000000 len=100 | drop window
			b A seq=3000000000 ack=1001 len=100 | drop window
			b FA seq=3000000000 ack=1001        | drop window
			a A seq=1001 ack=5001               | pass established`},
		{"the sequence numbers wrap in mid-stream", `
			a S  seq=4294950000                       | new syn-sent
			b SA seq=5000 ack=4294950001              | pass syn-received
			a A  seq=4294950001 ack=5001 len=60000    | pass established
			b A  seq=5001 ack=42705                   | pass established
			a A  seq=4294950001 ack=5001 len=1460     | pass established
			a A  seq=42705 ack=5001 len=60000         | pass established
			b A  seq=5001 ack=102705                  | pass established
			a FA seq=102705 ack=5001                  | pass closing`},
	})
}

// RFC 9293 section 3.6; SEM 2.4, 2.8, CT-18, CT-19.
func TestClose(t *testing.T) {
	testConversations(t, conntrack.Limits{}, []conversationTest{
		{"the client first", handshake + closing},
		{"the server first", handshake + `
			b FA seq=5001 ack=1001 | pass closing
			a A  seq=1001 ack=5002 | pass closing
			a FA seq=1001 ack=5002 | pass closing
			b A  seq=5002 ack=1002 | pass closed`},
		{"three segments", handshake + `
			a FA seq=1001 ack=5001 | pass closing
			b FA seq=5001 ack=1002 | pass closing
			a A  seq=1002 ack=5002 | pass closed`},
		{"simultaneous close", handshake + `
			a FA seq=1001 ack=5001 | pass closing
			b FA seq=5001 ack=1001 | pass closing
			a A  seq=1002 ack=5002 | pass closing
			b A  seq=5002 ack=1002 | pass closed`},
		{"FINs with data", handshake + `
			a FPA seq=1001 ack=5001 len=100 | pass closing
			b FPA seq=5001 ack=1102 len=200 | pass closing
			a A   seq=1102 ack=5202         | pass closed`},
		{"the FIN overtakes the data before it", handshake + `
			a FA seq=1101 ack=5001         | pass closing
			b A  seq=5001 ack=1001         | pass closing
			a A  seq=1001 ack=5001 len=100 | pass closing
			b FA seq=5001 ack=1102         | pass closing
			a A  seq=1102 ack=5002         | pass closed`},
		{"half-closed, data flows the other way for as long as it takes", handshake + `
			a FA seq=1001 ack=5001 | pass closing
			b A  seq=5001 ack=1002 len=1000 | pass closing
			wait 118s
			a A  seq=1002 ack=6001 | pass closing
			wait 118s
			b A  seq=6001 ack=1002 len=1000 | pass closing
			wait 118s
			b FA seq=7001 ack=1002 | pass closing
			a A  seq=1002 ack=7002 | pass closed`},
		{"FINs are repeated", handshake + `
			a FA seq=1001 ack=5001 | pass closing
			a FA seq=1001 ack=5001 | pass closing
			b FA seq=5001 ack=1002 | pass closing
			b FA seq=5001 ack=1002 | pass closing
			a A  seq=1002 ack=5002 | pass closed`},
		{"the last acknowledgement is lost: the FIN comes again, and the answer to it", handshake + closing + `
			b FA seq=5001 ack=1002 | ignore closed
			a A  seq=1002 ack=5002 | ignore closed
			b FA seq=5001 ack=1002 | ignore closed`},
		{"the last acknowledgement is lost: the data before the FIN comes again too", handshake + `
			a FA seq=1001 ack=5001          | pass closing
			b A  seq=5001 ack=1002 len=1000 | pass closing
			b FA seq=6001 ack=1002          | pass closing
			a A  seq=1002 ack=6002          | pass closed
			b A  seq=5001 ack=1002 len=1000 | ignore closed
			a A  seq=1002 ack=6002          | ignore closed`},
		{"CT-18: nothing new passes while the closed connection lingers", handshake + closing + `
			a PA seq=1002 ack=5002 len=10  | drop closed
			b PA seq=5002 ack=1002 len=10  | drop closed
			a FA seq=1002 ack=5002         | drop closed
			a A  seq=3000000000 ack=5002   | drop closed
			a A  seq=1002 ack=3000000000   | drop closed
			b SA seq=9000 ack=1003         | drop closed
			b R  seq=5003                  | drop closed`},
		{"it lingers for 120 s from the last acknowledgement, whatever repeats", handshake + closing + `
			wait 100s
			b FA seq=5001 ack=1002 | ignore closed
			wait 17s
			b FA seq=5001 ack=1002 | ignore closed
			wait 1s
			b FA seq=5001 ack=1002 | new closing`},
		{"CT-19: a SYN begins a new connection", handshake + closing + `
			a S  seq=3000          | new syn-sent
			b SA seq=9000 ack=3001 | pass syn-received
			a A  seq=3001 ack=9001 | pass established`},
		{"a late copy of the old SYN does not", handshake + closing + `
			a S  seq=1000          | ignore closed
			b A  seq=5002 ack=1002 | ignore closed
			b S  seq=1000          | new syn-sent`},
		{"also one from the other end", handshake + closing + `
			b S  seq=9000          | new syn-sent
			a SA seq=7000 ack=9001 | pass syn-received
			b A  seq=9001 ack=7001 | pass established
			opener b`},
		{"a new SYN meets an end that waits for its last acknowledgement", handshake + closing + `
			a S  seq=800000        | new syn-sent
			b A  seq=5002 ack=1002 | ignore syn-sent
			a R  seq=1002          | ignore syn-sent
			a S  seq=800000        | pass syn-sent
			b SA seq=9000 ack=800001 | pass syn-received`},
		{"a port without its connection answers what repeats by a reset", handshake + closing + `
			b FA seq=5001 ack=1002 | ignore closed
			a R  seq=1002          | ignore closed
			b R  seq=5002          | ignore closed`},
	})
}

// RFC 5961 section 3; SEM 2.3, 2.4; reliability row T2.
func TestReset(t *testing.T) {
	testConversations(t, conntrack.Limits{}, []conversationTest{
		{"exactly in sequence", handshake + `
			a A  seq=1001 ack=5001 len=100 | pass established
			b A  seq=5001 ack=1101         | pass established
			a R  seq=1101                  | end
			a A  seq=1101 ack=5001         | new established`},
		{"exactly in sequence, from the other end", handshake + `
			b RA seq=5001 ack=1001         | end`},
		{"answers a segment", handshake + `
			a A  seq=1001 ack=5001 len=100 | pass established
			b R  seq=5001                  | end`},
		{"blind", handshake + `
			a R  seq=3000000000            | drop window
			b RA seq=3000000000 ack=1001   | drop window
			b R  seq=0                     | drop window
			b RA seq=0 ack=1001            | drop window
			a A  seq=1001 ack=5001         | pass established`},
		{"inside the window", handshake + `
			a R  seq=1002                  | drop window
			a R  seq=1000                  | drop window
			b R  seq=5002                  | drop window
			a R  seq=1001                  | end`},
		{"in syn-received, from either end", `
			a S  seq=1000          | new syn-sent
			b SA seq=5000 ack=1001 | pass syn-received
			a R  seq=1002          | drop window
			a R  seq=1001          | end
			a S  seq=1000          | new syn-sent
			b SA seq=5000 ack=1001 | pass syn-received
			b R  seq=5000          | drop window
			b RA seq=5001 ack=1001 | end`},
		{"refuses a SYN", `
			a S  seq=1000          | new syn-sent
			b RA seq=0 ack=1000    | drop state
			b RA seq=0 ack=1002    | drop state
			b R  seq=0             | drop state
			b RA seq=0 ack=1001    | end`},
		{"behind data that may be lost: the challenge, and the reset that answers it, pass", handshake + `
			a A  seq=1001 ack=5001 len=100 | pass established
			a R  seq=1101                  | pass closed
			b A  seq=5001 ack=1001         | ignore closed
			a R  seq=1001                  | ignore closed
			a S  seq=800000                | new syn-sent`},
		{"behind data that is lost, and lost itself: the other end goes on until it hears so", handshake + `
			a A  seq=1001 ack=5001 len=100 | pass established
			a R  seq=1101                  | pass closed
			b A  seq=5001 ack=1001 len=10  | ignore closed
			b A  seq=5001 ack=1102 len=10  | drop closed
			b A  seq=3000000000 ack=1001   | drop closed
			a R  seq=1001                  | ignore closed`},
		{"after a FIN, inside the window", handshake + `
			a FA seq=1001 ack=5001         | pass closing
			b A  seq=5001 ack=1002 len=100 | pass closing
			a R  seq=1001                  | pass closed
			a R  seq=1002                  | ignore closed`},
		{"after a FIN, exactly in sequence", handshake + `
			a FA seq=1001 ack=5001         | pass closing
			b A  seq=5001 ack=1002 len=100 | pass closing
			a R  seq=1002                  | end`},
		{"after a FIN, blind", handshake + `
			a FA seq=1001 ack=5001         | pass closing
			b R  seq=3000000000            | drop window
			b R  seq=71002                 | drop window
			b R  seq=71001                 | pass closed`},
		{"without a connection it passes if the rules say so, and opens none", `
			a R  seq=1000          | new
			a RA seq=1000 ack=5001 | new
			a S  seq=1000          | new syn-sent`},
	})
}

// Reliability row F8; RFC 5961 section 4.
func TestReboot(t *testing.T) {
	testConversations(t, conntrack.Limits{}, []conversationTest{
		{"the client's: its SYN is challenged, its reset clears, its next SYN connects", handshake + `
			a S  seq=900000000             | ignore established
			b A  seq=5001 ack=1001         | pass established
			a R  seq=1001                  | end
			a S  seq=900000000             | new syn-sent
			b SA seq=700000000 ack=900000001 | pass syn-received
			a A  seq=900000001 ack=700000001 | pass established`},
		{"the server's: it answers by a reset", handshake + `
			a A  seq=1001 ack=5001 len=100 | pass established
			b R  seq=5001                  | end`},
		{"of both: the SYN-ACK that answers the SYN begins a new connection", handshake + `
			a S  seq=900000000               | ignore established
			b SA seq=700000000 ack=900000001 | pass syn-received
			a A  seq=900000001 ack=700000001 | pass established
			b A  seq=700000001 ack=900000001 len=1000000 | pass established
			a R  seq=900000001               | end`},
		{"of both, with data in the SYN, acknowledged or not", handshake + `
			a S  seq=900000000 len=1000      | ignore established
			b SA seq=700000000 ack=900001001 | pass syn-received
			a A  seq=900001001 ack=700000001 | pass established
			a S  seq=100000000 len=1000      | ignore established
			b SA seq=300000000 ack=100000001 | pass syn-received
			a A  seq=100000001 ack=300000001 len=1000 | pass established`},
		{"of both, and the server refuses", handshake + `
			a S  seq=900000000             | ignore established
			b RA seq=0 ack=900000001       | end`},
		{"of both, and the other end calls", handshake + `
			b S  seq=900000000               | ignore established
			a SA seq=700000000 ack=900000001 | pass syn-received
			opener b
			a A  seq=700000001 ack=900000001 len=10 | pass syn-received
			b A  seq=900000001 ack=700000001 | pass established`},
		{"in mid-handshake: of the client", `
			a S  seq=1000                    | new syn-sent
			b SA seq=5000 ack=1001           | pass syn-received
			a S  seq=900000000               | ignore syn-received
			b A  seq=5001 ack=1001           | pass syn-received
			a R  seq=1001                    | end`},
		{"in mid-handshake: of both", `
			a S  seq=1000                    | new syn-sent
			b SA seq=5000 ack=1001           | pass syn-received
			a S  seq=900000000               | ignore syn-received
			b SA seq=700000000 ack=900000001 | pass syn-received
			a A  seq=900000001 ack=700000001 | pass established`},
		{"in half-closed", handshake + `
			b FA seq=5001 ack=1001           | pass closing
			a S  seq=900000000               | ignore closing
			b A  seq=5002 ack=1001           | pass closing
			a R  seq=1001                    | end`},
		{"of both, in half-closed", handshake + `
			b FA seq=5001 ack=1001           | pass closing
			a S  seq=900000000               | ignore closing
			b SA seq=700000000 ack=900000001 | pass syn-received
			a A  seq=900000001 ack=700000001 | pass established`},
		{"a SYN-ACK answers no SYN but the last, and not that of its own end", handshake + `
			a S  seq=900000000               | ignore established
			b SA seq=700000000 ack=900000000 | drop window
			b SA seq=700000000 ack=900065537 | drop window
			a SA seq=700000000 ack=900000001 | drop window
			a S  seq=800000000               | ignore established
			b SA seq=700000000 ack=900000001 | drop window
			b RA seq=0 ack=900000001         | drop window
			a RA seq=0 ack=800000001         | drop window
			b SA seq=700000000 ack=800000001 | pass syn-received`},
		{"a SYN that somebody made up is forgotten as soon as its alleged sender goes on", handshake + `
			a S  seq=900000000               | ignore established
			a A  seq=1001 ack=5001 len=10    | pass established
			b SA seq=700000000 ack=900000001 | drop window
			b RA seq=0 ack=900000001         | drop window
			b A  seq=5001 ack=1011           | pass established`},
		{"the new connection's answer is repeated", handshake + `
			a S  seq=900000000               | ignore established
			b SA seq=700000000 ack=900000001 | pass syn-received
			b SA seq=700000000 ack=900000001 | ignore syn-received
			a S  seq=900000000               | ignore syn-received
			a A  seq=900000001 ack=700000001 | pass established`},
	})
}

// SEM 2.4: a segment in mid-stream opens a connection if a rule allows it, and it
// is followed liberally.
func TestPickUp(t *testing.T) {
	testConversations(t, conntrack.Limits{}, []conversationTest{
		{"by data", `
			a PA seq=1000 ack=5000 len=100   | new established
			b A  seq=5000 ack=1100 len=1000000 win=100 | pass established
			a A  seq=1100 ack=1005000        | pass established
			a R  seq=1100                    | end`},
		{"more is on its way than was acknowledged, and nobody has seen it", `
			a A  seq=1000 ack=5000           | new established
			a A  seq=1000 ack=600000         | pass established
			b A  seq=5000 ack=1000 len=1460  | pass established
			a A  seq=1000 ack=700000         | pass established
			b A  seq=700000 ack=1000 len=1460 | pass established`},
		{"the windows are the largest there are, but not all there is", `
			a A  seq=1000 ack=5000           | new established
			b A  seq=5000 ack=1000 len=1     | pass established
			b A  seq=1073730440 ack=1000     | pass established
			b A  seq=1073730441 ack=1000     | drop window
			b A  seq=3000000000 ack=1000     | drop window
			b A  seq=5001 ack=2000000000     | drop window
			b A  seq=5001 ack=3000000000     | drop window`},
		{"by a SYN-ACK", `
			b SA seq=5000 ack=1001           | new syn-received
			b SA seq=5000 ack=1001           | ignore syn-received
			opener a
			a A  seq=1001 ack=5000           | pass syn-received
			a A  seq=1001 ack=5001           | pass established`},
		{"by a SYN-ACK, whose SYN comes again", `
			b SA seq=5000 ack=1001           | new syn-received
			a S  seq=1000                    | ignore syn-received
			b SA seq=5000 ack=1001           | ignore syn-received
			a A  seq=1001 ack=5001           | pass established`},
		{"by a FIN", `
			a FA seq=1000 ack=5000           | new closing
			b FA seq=5000 ack=1001           | pass closing
			a A  seq=1001 ack=5001           | pass closed`},
		{"by a FIN, with data of the other end on its way", `
			a FA seq=1000 ack=5000           | new closing
			a A  seq=1001 ack=7000           | pass closing
			b FA seq=7000 ack=1001           | pass closing
			a A  seq=1001 ack=7001           | pass closed`},
		{"and a reboot after it", `
			a A  seq=1000 ack=5000             | new established
			a S  seq=2000000000                | ignore established
			b SA seq=1900000000 ack=2000000001 | pass syn-received
			a A  seq=2000000001 ack=1900000001 | pass established`},
	})
}

// SEM 2.4, option strict.
func TestStrict(t *testing.T) {
	testConversations(t, conntrack.Limits{Strict: true}, []conversationTest{
		{"only a SYN opens a connection", `
			a PA  seq=1000 ack=5000 len=100 | drop strict
			a A   seq=1000 ack=5000         | drop strict
			a FA  seq=1000 ack=5000         | drop strict
			a SA  seq=1000 ack=5000         | drop strict
			a R   seq=1000                  | drop strict
			a RA  seq=1000 ack=5000         | drop strict
			a SEC seq=1000                  | new syn-sent`},
		{"all else is as in loose mode", handshake + closing},
	})
}
