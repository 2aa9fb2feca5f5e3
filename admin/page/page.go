package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed static third_party/*/LICENSE
var files embed.FS

// policy is the page's Content-Security-Policy. Styles that scripts set on elements go through
// the CSSOM, which it does not concern.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// asset is one file as it is served.
type asset struct {
	contentType string
	plain, gzip []byte
	etag        string
	// cache is its Cache-Control.
	cache string
}

// Handlers serve the page at / and what it consists of under /assets/, by path, with GET and HEAD. The names of the
// assets have a hash of their content, so that browsers may keep them for ever; / is asked for anew each time, by its
// ETag. It fails if the embedded files do not fit together.
func Handlers() (map[string]http.Handler, error) {
	assets, err := load(files)
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	handlers := make(map[string]http.Handler, len(assets))
	for path, a := range assets {
		handlers[path] = a
	}
	return handlers, nil
}

// load reads the assets, by the path that they are served at.
func load(files fs.FS) (map[string]*asset, error) {
	assets := map[string]*asset{}
	index, err := fs.ReadFile(files, "static/index.html")
	if err != nil {
		return nil, err
	}
	for _, file := range []struct{ name, contentType string }{
		{"app.js", "text/javascript; charset=utf-8"},
		{"app.css", "text/css; charset=utf-8"},
		{"icon.svg", "image/svg+xml"},
	} {
		content, err := fs.ReadFile(files, "static/"+file.name)
		if err != nil {
			return nil, err
		}
		link := "assets/" + file.name
		if !bytes.Contains(index, []byte(link)) {
			return nil, fmt.Errorf("index.html does not use %s", link)
		}
		stem, ext, _ := strings.Cut(file.name, ".")
		hashed := "assets/" + stem + "." + digest(content)[:16] + "." + ext
		index = bytes.ReplaceAll(index, []byte(link), []byte(hashed))
		assets["/"+hashed] = newAsset(file.contentType, content, "public, max-age=31536000, immutable")
	}
	licenses, err := licenses(files)
	if err != nil {
		return nil, err
	}
	assets["/assets/licenses.txt"] = newAsset("text/plain; charset=utf-8", licenses, "no-cache")
	assets["/"] = newAsset("text/html; charset=utf-8", index, "no-cache")
	return assets, nil
}

// licenses are those of the third-party sources in the bundle, each under its directory's name.
func licenses(files fs.FS) ([]byte, error) {
	names, err := fs.Glob(files, "third_party/*/LICENSE")
	if err != nil {
		return nil, err
	}
	var all bytes.Buffer
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&all, "%s\n\n%s\n\n", path.Base(path.Dir(name)), bytes.TrimSpace(text))
	}
	return all.Bytes(), nil
}

func newAsset(contentType string, content []byte, cache string) *asset {
	var zipped bytes.Buffer
	// A Writer into memory does not fail, and the level is one that there is.
	w, _ := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	_, _ = w.Write(content)
	_ = w.Close()
	return &asset{contentType: contentType, plain: content, gzip: zipped.Bytes(), etag: `"` + digest(content)[:32] + `"`, cache: cache}
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// ServeHTTP answers GET and HEAD.
func (a *asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", a.cache)
	h.Set("Vary", "Accept-Encoding")
	// The two encodings are one representation to us: a weak tag says that.
	etag := "W/" + a.etag
	h.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.plain
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body = a.gzip
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// matches reports whether an If-None-Match names etag, a strong tag, weakly compared.
func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// acceptsGzip reports whether an Accept-Encoding allows gzip.
func acceptsGzip(header string) bool {
	for coding := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(coding, ";")
		if name = strings.ToLower(strings.TrimSpace(name)); name != "gzip" && name != "*" {
			continue
		}
		q, has := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q=")
		if !has {
			return true
		}
		if weight, err := strconv.ParseFloat(q, 64); err == nil && weight > 0 {
			return true
		}
		return false
	}
	return false
}
