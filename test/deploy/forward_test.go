package deploy

import (
	"io"
	"net"
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
