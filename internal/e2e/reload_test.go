package e2e

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReloadAddsAndRemovesInstances(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	before := l.namespaces()

	l.write(l.config() + carol)
	l.must("reload")
	if got, want := l.status().names(), []string{"alice", "bob", "carol"}; !slices.Equal(got, want) {
		t.Errorf("instances after one more: %v, want %v", got, want)
	}
	if !l.answers("alice", "carol", "icmp") {
		t.Error("no answer from the new instance")
	}
	for name, inode := range l.namespaces() {
		if was, old := before[name]; old && was != inode {
			t.Errorf("the reload made the namespace %s anew", name)
		}
	}

	l.edit(carol, "")
	l.must("reload")
	if got, want := l.status().names(), []string{"alice", "bob"}; !slices.Equal(got, want) {
		t.Errorf("instances after one less: %v, want %v", got, want)
	}
	if _, left := l.namespaces()[l.name+"-carol"]; left {
		t.Error("the namespace of the removed instance is still there")
	}
	if !l.answers("alice", "bob", "icmp") {
		t.Error("no answer from those that stayed")
	}
}

// A reload gives a running subnet IPv6, and takes it away again; IPv4 goes on
// meanwhile, in the same connection.
func TestReloadTurnsIPv6OnAndOff(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	l.start("bob", "serve", ":9000")
	conn := l.start("alice", "talk", "10.8.0.11:9000")
	const address = "[fd00:8::11]:9000"
	without := l.config()
	with := strings.NewReplacer(
		`cidr = "10.8.0.0/16"`, `cidr = "10.8.0.0/16"`+"\n"+`cidr6 = "fd00:8::/56"`,
		`cidr = "10.8.0.0/24"`, `cidr = "10.8.0.0/24"`+"\n"+`cidr6 = "fd00:8::/64"`,
		`ip     = "10.8.0.10"`, `ip     = "10.8.0.10"`+"\n"+`ip6 = "fd00:8::10"`,
		`ip     = "10.8.0.11"`, `ip     = "10.8.0.11"`+"\n"+`ip6 = "fd00:8::11"`,
	).Replace(without)
	for _, step := range []struct{ config, want, names string }{
		{without, "no address", "10.8.0.11"},
		{with, "connected", "fd00:8::11"},
		{without, "no address", "10.8.0.11"},
		{with, "connected", "fd00:8::11"},
	} {
		l.write(step.config)
		l.must("reload")
		if got := l.dial("alice", "tcp", address); got != step.want {
			t.Errorf("over IPv6: %s, want %s", got, step.want)
		}
		if got := l.must("exec", "alice", "--", "getent", "hosts", "bob"); !strings.HasPrefix(got, step.names+" ") {
			t.Errorf("bob resolves to %q, want %s", got, step.names)
		}
		conn.say("still")
		conn.expect("echo")
	}
}

func TestSIGHUPReloads(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	before := l.status()
	l.write(l.config() + carol)
	if err := syscall.Kill(before.PID, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the switch has carol", func() bool { return slices.Contains(l.status().names(), "carol") })
	if after := l.status(); after.PID != before.PID || after.Generation <= before.Generation {
		t.Errorf("after SIGHUP: pid %d, generation %d; before: %d, %d", after.PID, after.Generation, before.PID, before.Generation)
	}
}

// A file with a mistake changes nothing, though half of it is good; all of its
// mistakes are named in one run, each with its place.
func TestBadFileIsRefusedWhole(t *testing.T) {
	t.Parallel()
	l := startLab(t, oneSubnet)
	before := l.status()
	good := l.config()
	bad := strings.Replace(good, `ports = 9000, from = "alice"`, `ports = 70000, from = "alise"`, 1) + carol + "colour = 3\n"
	l.write(bad)

	for _, command := range [][]string{{"check"}, {"reload"}, {"up"}} {
		r := l.try(command...)
		if r.code != 2 {
			t.Errorf("want exit code 2:\n%v", r)
		}
		for _, want := range []string{place(bad, "70000"), "70000", `"alice"`, place(bad, "colour"), "colour"} {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("no %q in:\n%v", want, r)
			}
		}
	}
	if after := l.status(); after.Generation != before.Generation || !slices.Equal(after.names(), before.names()) {
		t.Errorf("the running VPC changed: %+v, before %+v", after, before)
	}
	if _, made := l.namespaces()[l.name+"-carol"]; made {
		t.Error("a namespace was made for an instance of a refused file")
	}
	if !l.answers("alice", "bob", "icmp") {
		t.Error("no answer under the old rules")
	}
}

// Reloads under a running transfer cost it nothing: it arrives whole, whatever
// rules come and go beside the one that admitted it.
func TestReloadsDuringATransfer(t *testing.T) {
	const size = 128 << 20 // bytes
	l := startLab(t, twoSubnets)
	sink := l.start("right", "sink", ":9000")
	source := l.program("left", "bulk", l.ip("right")+":9000", fmt.Sprint(size))
	const rule = `  { id = "sgr-other", proto = "tcp", ports = 9001, from = "sg:left" },` + "\n"
	const anchor = `  { id = "sgr-echo", proto = "tcp", ports = 9000, from = "sg:left" },` + "\n"

	var sent string
	reloads := 0
	for sent == "" {
		select {
		case sent = <-source.lines:
			if sent == "" {
				t.Fatal("the transfer broke off")
			}
		default:
			if reloads%2 == 0 {
				l.edit(rule, "")
			} else {
				l.edit(anchor, anchor+rule)
			}
			l.must("reload")
			reloads++
		}
	}
	if received := sink.await(time.Minute); received != sent {
		t.Errorf("received bytes with SHA-256 %s, sent %s", received, sent)
	}
	t.Logf("%d reloads during %d MiB", reloads, size>>20)
	if generation := l.status().Generation; generation < uint64(reloads) {
		t.Errorf("generation %d after %d reloads", generation, reloads)
	}
}

// place returns where text stands in a file, as an error message says it:
// vpc.toml:LINE:.
func place(file, text string) string {
	before, _, _ := strings.Cut(file, text)
	return fmt.Sprintf("vpc.toml:%d:", 1+strings.Count(before, "\n"))
}

// foreignNamespace makes a namespace of that name as somebody else would.
func foreignNamespace(t *testing.T, name string) (inode uint64) {
	t.Helper()
	path := "/run/netns/" + name
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}
		made <- err
	}()
	err := <-made
	t.Cleanup(func() {
		unix.Unmount(path, unix.MNT_DETACH)
		os.Remove(path)
	})
	var st syscall.Stat_t
	if err == nil {
		err = syscall.Stat(path, &st)
	}
	if err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// A reload that cannot make one of its namespaces leaves everything as it was,
// and what is not ours stays, also after down.
func TestReloadThatCannotBePreparedIsRolledBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, oneSubnet)
	// A namespace outside the names that the VPC derives, so that only the file
	// says whose it might be.
	foreign := "vst-foreign-" + strings.TrimPrefix(l.name, "vst-")
	inode := foreignNamespace(t, foreign)
	l.must("up")
	before, namespaces := l.status(), l.namespaces()

	l.write(l.config() + carol + strings.NewReplacer("carol", "dave", ".12", ".13").Replace(carol) + `namespace = "` + foreign + `"` + "\n")
	r := l.try("reload")
	if r.code != 1 || !strings.Contains(r.stderr, foreign) {
		t.Errorf("want exit code 1 and the name of the namespace:\n%v", r)
	}
	if after := l.status(); after.Generation != before.Generation || !slices.Equal(after.names(), before.names()) {
		t.Errorf("the running VPC changed: %+v, before %+v", after, before)
	}
	if after := l.namespaces(); len(after) != len(namespaces) {
		t.Errorf("namespaces after the refused reload: %v, before: %v", after, namespaces)
	}
	if !l.answers("alice", "bob", "icmp") {
		t.Error("no answer under the old rules")
	}
	l.must("down")
	var st syscall.Stat_t
	if err := syscall.Stat("/run/netns/"+foreign, &st); err != nil || st.Ino != inode {
		t.Errorf("the foreign namespace after down: inode %d, %v; before: %d", st.Ino, err, inode)
	}
}

func TestUpRefusesAForeignNamespace(t *testing.T) {
	t.Parallel()
	l := newLab(t, oneSubnet)
	foreign := "vst-foreign-" + strings.TrimPrefix(l.name, "vst-")
	foreignNamespace(t, foreign)
	l.write(l.config() + `namespace = "` + foreign + `"` + "\n")
	if r := l.try("up"); r.code != 1 || !strings.Contains(r.stderr, foreign) {
		t.Errorf("want exit code 1 and the name of the namespace:\n%v", r)
	}
	l.gone()
}
