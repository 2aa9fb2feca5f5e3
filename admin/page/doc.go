// Package page is the web page on which operators watch the breakers and act on them: static
// files, embedded in the binary, that call the API of package admin from the browser.
//
// It knows nothing of breakers itself. Its one invariant: a browser that shows the page asks
// nobody but the server that it came from, and runs no script but the page's own.
//
// The sources are in src (TypeScript, preact, signals, uPlot); `make generate` bundles them into
// static with esbuild, without Node.
package page
