package classify

import "math"

// none is the rule of a segment that no rule covers. It is larger than every
// index, so that the minimum of two rules needs no special case.
const none int32 = math.MaxInt32

// A segment is an interval of keys of which all belong to the same first rule.
type segment struct {
	from key
	rule int32 // index of the rule, or none
}

// Intervals say of every key which rule comes first there, in time that hardly
// depends on how many segments there are.
type intervals struct {
	// segments are the intervals into which services cut the line of keys, in
	// ascending order, at least one. The first starts at key 0; each ends where the
	// next starts; two neighbours never have the same rule.
	segments []segment

	// index divides the keys from low on, where the second segment starts, into
	// runs of 1<<shift keys. A run's entry is the segment that holds its first key,
	// but that of the first run is segment 0, so that it serves the keys below as
	// well; one more entry is the last segment. It is empty for few segments.
	index []uint32
	low   key
	shift uint8
}

// indexFrom is the number of segments from which on an index is worth its memory,
// 4 bytes a segment at most: below, a search is not slower.
const indexFrom = 8

// indexSize returns the entries that the index of the segments has.
func indexSize(segments []segment) int {
	if len(segments) < indexFrom {
		return 0
	}
	return int(extent(segments)>>indexShift(segments)) + 2
}

// indexShift returns the shift for which there are at most as many runs as
// segments.
func indexShift(segments []segment) uint8 {
	for shift := uint8(0); ; shift++ {
		if int(extent(segments)>>shift) < len(segments) {
			return shift
		}
	}
}

// extent returns the distance between the starts of the second segment and the
// last.
func extent(segments []segment) key {
	return segments[len(segments)-1].from - segments[1].from
}

// newIntervals returns intervals that keep the segments, and index, the length of
// which is their indexSize.
func newIntervals(segments []segment, index []uint32) intervals {
	v := intervals{segments: segments, index: index}
	if len(index) == 0 {
		return v
	}
	v.low, v.shift = segments[1].from, indexShift(segments)
	at := 0
	for i := range index {
		index[i] = uint32(at)
		for next := v.low + key(i+1)<<v.shift; at+1 < len(segments) && segments[at+1].from <= next; {
			at++
		}
	}
	return v
}

// first returns the rule at k, or none.
func (v *intervals) first(k key) int32 {
	// The segment that holds k is the last one that starts at or before it.
	lo, hi := 0, len(v.segments) // it is lo or between them
	if runs := len(v.index) - 1; runs > 0 {
		run := max(0, min((int(k)-int(v.low))>>v.shift, runs-1))
		lo, hi = int(v.index[run]), int(v.index[run+1])+1
	}
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		if v.segments[mid].from <= k {
			lo = mid
		} else {
			hi = mid
		}
	}
	return v.segments[lo].rule
}
