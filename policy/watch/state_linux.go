package watch

import (
	"io/fs"
	"syscall"
	"time"
)

func stateOf(info fs.FileInfo) fileState {
	s := fileState{size: info.Size(), modified: info.ModTime(), changed: info.ModTime(), seen: time.Now()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode = st.Dev, st.Ino
		s.changed = time.Unix(st.Ctim.Unix())
	}
	return s
}
