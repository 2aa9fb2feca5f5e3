// Package page proves the page in a browser: Debian's chromium, driven by Playwright, looks at a
// real `breakwater run` behind a real Envoy, and acts on it.
//
// What a browser does and sees is written in Python, for Playwright has no Go: each NAME.py here is
// one story, which Go runs. What happens to Breakwater meanwhile is Go's: a story asks for it by
// printing a line "do WHAT", and goes on when it reads "done".
package page
