package demo

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestParseBehaviour(t *testing.T) {
	for query, want := range map[string]Behaviour{
		"fail=on":                       {FailPercent: 100},
		"fail":                          {FailPercent: 100},
		"fail=off":                      {},
		"fail=20%25":                    {FailPercent: 20},
		"fail=503":                      {FailPercent: 100, FailStatus: 503},
		"fail=0.5%25&status=429":        {FailPercent: 0.5, FailStatus: 429},
		"delay=250ms&reset=on":          {Delay: 250 * time.Millisecond, Reset: true},
		"refuse=1":                      {Refuse: true},
		"refuse=false":                  {},
		"heal=on":                       {},
		"heal=on&service=fraud-service": {},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseBehaviour(values)
		if err != nil || got != want {
			t.Errorf("ParseBehaviour(%s) = %+v, %v, want %+v", query, got, err, want)
		}
		back, err := ParseBehaviour(got.values())
		if err != nil || back != got {
			t.Errorf("%+v as parameters reads back as %+v, %v", got, back, err)
		}
	}
}

func TestParseBehaviourErrors(t *testing.T) {
	for query, want := range map[string]string{
		"":                     "give at least one of",
		"service=x":            "give at least one of",
		"fail=20":              "fail=20: must be on, off, a share such as 20%, or a status",
		"fail=101%25":          "fail=101%: a share must be from 0% to 100%",
		"fail=NaN%25":          "a share must be from 0% to 100%",
		"fail=200":             "a status from 400 to 599",
		"status=503":           "status: needs fail too",
		"fail=on&status=600":   "status=600: must be a status from 400 to 599",
		"delay=3":              "delay=3: must be a duration from 0s to 1h0m0s",
		"delay=-1s":            "delay=-1s: must be a duration",
		"reset=perhaps":        "reset=perhaps: must be on or off",
		"refuse=on&refuse=off": "refuse: given more than once",
		"heal=on&fail=on":      "heal=on: contradicts fail",
		"slow=1s":              "slow: no such parameter",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := ParseBehaviour(values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseBehaviour(%s) = %+v, %v, want an error with %q", query, b, err, want)
		}
	}
}

func TestBehaviourString(t *testing.T) {
	for want, b := range map[string]Behaviour{
		"healthy":                     {},
		"fails 100% with 500":         {FailPercent: 100},
		"fails 20% with 503, 2s late": {FailPercent: 20, FailStatus: 503, Delay: 2 * time.Second},
		"refuses connections":         {Refuse: true},
		"resets connections":          {Reset: true},
	} {
		if got := b.String(); got != want {
			t.Errorf("%+v: %q, want %q", b, got, want)
		}
	}
}
