package admin

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// TestWithoutSpace compares with the standard library's, for any strings as names and values.
func TestWithoutSpace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.MapOf(rapid.String(), rapid.SliceOf(rapid.StringOf(rapid.RuneFrom([]rune(`a "\ ,:{}[]é`))))).Draw(t, "value")
		loose, err := json.MarshalIndent(value, "", "")
		if err != nil {
			t.Fatal(err)
		}
		loose = bytes.ReplaceAll(loose, []byte("\n"), []byte(" "))
		var want bytes.Buffer
		if err := json.Compact(&want, loose); err != nil {
			t.Fatal(err)
		}
		if got := string(withoutSpace(loose)); got != want.String() {
			t.Errorf("%s, want %s", got, want.String())
		}
	})
}
