package admin_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/admin"
)

// maxPage is what all that a browser loads for the page may weigh, in bytes as they are sent.
const maxPage = 150_000

// assetLinks are the paths in the page that name a file of it.
var assetLinks = regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"`)

// rawGet asks as browsers do, for gzip, and leaves the answer as it came.
func rawGet(t *testing.T, url string, header map[string]string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// TestPage: the page is served with all that it consists of, small, to be kept by browsers, and forbidden to load
// anything else.
func TestPage(t *testing.T) {
	url := start(t, admin.Options{Model: newFakeModel()}).url
	zipped := map[string]string{"Accept-Encoding": "gzip, deflate, br"}
	resp, index := rawGet(t, url+"/", nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || resp.Header.Get("Content-Encoding") != "" {
		t.Fatalf("the page is answered %d %v", resp.StatusCode, resp.Header)
	}
	for _, tag := range []string{"<style", "style=", " onclick", "http://", "https://"} {
		if strings.Contains(string(index), tag) {
			t.Errorf("the page has %s", tag)
		}
	}
	links := assetLinks.FindAllStringSubmatch(string(index), -1)
	if len(links) != 3 {
		t.Fatalf("the page names %d files: %v", len(links), links)
	}
	paths := []string{""}
	for _, link := range links {
		paths = append(paths, link[1])
	}
	total := 0
	for _, path := range append(paths, "assets/licenses.txt") {
		resp, body := rawGet(t, url+"/"+path, zipped)
		plain, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Encoding") != "gzip" || resp.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("/%s is answered %d %v: %v", path, resp.StatusCode, resp.Header, err)
			continue
		}
		unzipped, err := io.ReadAll(plain)
		if err != nil {
			t.Error(err)
		}
		if _, whole := rawGet(t, url+"/"+path, map[string]string{"Accept-Encoding": "gzip;q=0"}); !bytes.Equal(whole, unzipped) {
			t.Errorf("/%s differs without gzip", path)
		}
		policy := resp.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';") || strings.Contains(policy, "unsafe") {
			t.Errorf("/%s has the policy %q", path, policy)
		}
		cached := strings.Contains(resp.Header.Get("Cache-Control"), "immutable")
		if hashed := path != "" && !strings.HasSuffix(path, ".txt"); cached != hashed {
			t.Errorf("/%s has Cache-Control %q", path, resp.Header.Get("Cache-Control"))
		}
		again, none := rawGet(t, url+"/"+path, map[string]string{"If-None-Match": `"other", ` + resp.Header.Get("ETag")})
		if again.StatusCode != http.StatusNotModified || len(none) != 0 {
			t.Errorf("/%s is answered %d and %d bytes to one who has it", path, again.StatusCode, len(none))
		}
		if strings.HasSuffix(path, ".txt") {
			if strings.Count(string(unzipped), "Permission is hereby granted") != 4 {
				t.Errorf("the licences are not those of 4 packages:\n%s", unzipped)
			}
			continue
		}
		total += len(body)
	}
	t.Logf("the page weighs %d bytes", total)
	if total > maxPage {
		t.Errorf("the page weighs %d bytes, at most %d are allowed", total, maxPage)
	}
}

// A page of another site can not show the page in a frame, nor ask for it under another name.
func TestPageIsGuarded(t *testing.T) {
	url := start(t, admin.Options{Model: newFakeModel()}).url
	got := get(t, url+"/")
	if got.header.Get("X-Frame-Options") != "DENY" || !strings.Contains(got.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Errorf("the page can be framed: %v", got.header)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "rebound.example"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("the page is served as rebound.example: %d", resp.StatusCode)
	}
}
