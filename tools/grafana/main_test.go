package main

import (
	"strings"
	"testing"
)

func TestRenderIsStrict(t *testing.T) {
	data, err := render()
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`"refresh": `, `"refersh": `},
		{`"legendFormat": `, `"legend": `},
		{`"fillOpacity": `, `"fillOpaqueness": `},
	} {
		bad := strings.Replace(string(data), change[0], change[1], 1)
		if bad == string(data) {
			t.Fatalf("the dashboard has no %s", change[0])
		}
		if err := check([]byte(bad)); err == nil {
			t.Errorf("a dashboard with %s is taken", change[1])
		}
	}
}
