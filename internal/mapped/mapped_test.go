package mapped_test

import (
	"testing"

	"vswitch/internal/mapped"
)

func resident(t *testing.T, m mapped.Memory) int {
	t.Helper()
	n, err := m.Resident()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Memory is zero and costs nothing until it is used, and again after Clear.
func TestMemory(t *testing.T) {
	const size = 3 * mapped.Page
	m, err := mapped.Map(size)
	if err != nil {
		t.Fatal(err)
	}
	if m.Len() != size || resident(t, m) != 0 {
		t.Fatalf("%d bytes, %d of them resident; want %d and none", m.Len(), resident(t, m), size)
	}
	words := mapped.Slice[uint64](m)
	if len(words) != size/8 {
		t.Fatalf("%d words, want %d", len(words), size/8)
	}
	words[0], words[len(words)-1] = 1, 2
	if n := resident(t, m); n == 0 || n > 1<<20 {
		t.Errorf("two words were written: %d bytes resident", n)
	}
	m.Clear()
	if words[0] != 0 || words[len(words)-1] != 0 {
		t.Error("not zero after Clear")
	}
	m.Clear()
	m.Populate(mapped.Page, mapped.Page)
	if n := resident(t, m); n != mapped.Page {
		t.Errorf("one huge page was populated: %d bytes resident", n)
	}
	m.Populate(2*mapped.Page, 5*mapped.Page) // beyond the end
	if n := resident(t, m); n != 2*mapped.Page {
		t.Errorf("two huge pages were populated: %d bytes resident", n)
	}
	if err := m.Unmap(); err != nil || m.Len() != 0 {
		t.Errorf("Unmap: %v, %d bytes left", err, m.Len())
	}
}

// Huge pages begin with the page that follows the byte that Huge was told: a use
// of what is before it takes a small page.
func TestHuge(t *testing.T) {
	m, err := mapped.Map(8 * mapped.Page)
	if err != nil {
		t.Fatal(err)
	}
	m.Huge(1)
	m.Huge(9 * mapped.Page) // beyond the end: nothing
	mapped.Slice[byte](m)[0] = 1
	if n := resident(t, m); n == 0 || n >= mapped.Page {
		t.Errorf("one byte of a small page was written: %d bytes resident", n)
	}
	if err := m.Unmap(); err != nil {
		t.Error(err)
	}
}

// The zero Memory is empty, and refuses nothing.
func TestZeroMemory(t *testing.T) {
	var m mapped.Memory
	m.Huge(0)
	m.Populate(0, 1)
	m.Clear()
	if n := resident(t, m); n != 0 || m.Len() != 0 || mapped.Slice[uint64](m) != nil {
		t.Errorf("%d bytes, %d resident", m.Len(), n)
	}
	if err := m.Unmap(); err != nil {
		t.Error(err)
	}
}

func TestMapRefuses(t *testing.T) {
	if _, err := mapped.Map(-1); err == nil {
		t.Error("mapped a negative number of bytes")
	}
}
