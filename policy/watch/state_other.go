//go:build !linux

package watch

import (
	"io/fs"
	"time"
)

// stateOf knows neither inode nor change time here; the poll makes up for it.
func stateOf(info fs.FileInfo) fileState {
	return fileState{size: info.Size(), modified: info.ModTime(), changed: info.ModTime(), seen: time.Now()}
}
