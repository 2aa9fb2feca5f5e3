package store_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/breakwater/breakwater/store"
)

// fillEnv makes the test binary fill the disk of that directory.
const fillEnv = "BREAKWATER_TEST_FILL"

// fill saves documents that grow until the disk is full, and returns an exit code.
func fill(dir string) int {
	if err := filled(dir); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func filled(dir string) error {
	d, err := store.Open(dir, nil)
	if err != nil {
		return err
	}
	if err := d.Save("orders", doc{A: 1}); err != nil {
		return err
	}
	saved := 0
	for n := 1; err == nil; n++ {
		if err = d.Save("policies", strings.Repeat("x", n*1000)); err == nil {
			saved = n * 1000
		}
	}
	if !errors.Is(err, syscall.ENOSPC) || !d.Unsaved("policies") || saved == 0 {
		return fmt.Errorf("after %d bytes: %w, faults %v", saved, err, d.Faults())
	}
	// The next life has what was saved, and there is room for what is smaller.
	if err := d.Close(); err != nil {
		return err
	}
	if d, err = store.Open(dir, nil); err != nil {
		return err
	}
	var orders doc
	var policies string
	_, ordersErr := d.Load("orders", &orders)
	_, policiesErr := d.Load("policies", &policies)
	if err := errors.Join(ordersErr, policiesErr); err != nil || orders.A != 1 || len(policies) != saved || len(d.Faults()) > 0 {
		return fmt.Errorf("loaded %+v and %d bytes of %d: %w, faults %v", orders, len(policies), saved, err, d.Faults())
	}
	if err := errors.Join(d.Save("policies", "small"), d.Save("orders", doc{A: 2}), d.Close()); err != nil {
		return err
	}
	if d, err = store.Open(dir, nil); err != nil {
		return err
	}
	_, err = d.Load("orders", &orders)
	if err == nil && orders.A != 2 {
		err = fmt.Errorf("loaded %+v", orders)
	}
	return errors.Join(err, d.Close())
}

// A disk that gets full while the file grows is an error, and neither a signal nor a loss.
func TestDiskGetsFull(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--mount"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	for _, size := range []string{"40k", "100k", "256k", "1m"} {
		t.Run(size, func(t *testing.T) {
			cmd := exec.Command("unshare", append(args, "sh", "-ec", `mount -t tmpfs -o size=`+size+` tmpfs "$0"; exec "$1"`, dir, os.Args[0])...)
			cmd.Env = append(os.Environ(), fillEnv+"="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
