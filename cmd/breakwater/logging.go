package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/breakwater/breakwater/admin"
)

// subsystems are the loggers whose levels can be set one by one.
var subsystems = []string{"admin", "breaker", "config", "demo", "envoy", "store", "xds"}

// loggers are the root logger and one for each subsystem.
type loggers struct {
	root hclog.Logger
	sub  map[string]hclog.Logger
}

// logFlags are the flags of whatever logs.
type logFlags struct{ level, format string }

func (f *logFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.level, "log-level", "info", "trace, debug, info, warn, error or off")
	flags.StringVar(&f.format, "log-format", "text", "text or json")
}

// open returns the loggers, which write to w. It fails only with a usage error.
func (f logFlags) open(w io.Writer) (*loggers, error) {
	l := hclog.LevelFromString(f.level)
	if l == hclog.NoLevel {
		return nil, usagef("--log-level %q: must be trace, debug, info, warn, error or off", f.level)
	}
	if f.format != "text" && f.format != "json" {
		return nil, usagef("--log-format %q: must be text or json", f.format)
	}
	root := hclog.New(&hclog.LoggerOptions{
		Name:              "breakwater",
		Level:             l,
		Output:            w,
		JSONFormat:        f.format == "json",
		IndependentLevels: true,
	})
	out := &loggers{root: root, sub: map[string]hclog.Logger{}}
	for _, name := range subsystems {
		out.sub[name] = root.Named(name)
	}
	return out, nil
}

func (l *loggers) named(name string) hclog.Logger { return l.sub[name] }

func (l *loggers) levels() []admin.LogLevel {
	out := []admin.LogLevel{{Level: l.root.GetLevel()}}
	for _, name := range slices.Sorted(maps.Keys(l.sub)) {
		out = append(out, admin.LogLevel{Subsystem: name, Level: l.sub[name].GetLevel()})
	}
	return out
}

func (l *loggers) set(level hclog.Level, subsystem string) error {
	if subsystem == "" {
		l.root.SetLevel(level)
		for _, s := range l.sub {
			s.SetLevel(level)
		}
		return nil
	}
	s, ok := l.sub[subsystem]
	if !ok {
		return fmt.Errorf("%w: %q: there are %v", admin.ErrUnknownSubsystem, subsystem, subsystems)
	}
	s.SetLevel(level)
	return nil
}
