package envoy

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of /proc's times: 100 a second on every architecture.
const clockTick = 10 * time.Millisecond

// cpuTime is how long the main thread of a process has run; 0 if that is not known.
func cpuTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field, the name, may have blanks and ends with the last parenthesis. User and system time are the 14th
	// and the 15th.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	var sum time.Duration
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0
		}
		sum += time.Duration(ticks) * clockTick
	}
	return sum
}
