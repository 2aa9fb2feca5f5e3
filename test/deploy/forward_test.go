package deploy

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
)

// forward connects each connection that the listener takes with the target, until it is closed.
func forward(l net.Listener, target string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			up, err := net.Dial("tcp", target)
			if err != nil {
				return
			}
			defer up.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				// The end of one direction ends it; an error has nobody to be told to.
				_, _ = io.Copy(up, conn)
				_ = up.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(conn, up)
			_ = conn.(*net.TCPConn).CloseWrite()
			<-done
		}()
	}
}

// logBuffer collects a process's output.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
