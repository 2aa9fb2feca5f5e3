package deploy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
)

const dockerfilePath = "deploy/docker/Dockerfile"

// stage is one FROM of a Dockerfile, with what of it matters here.
type stage struct {
	base, name string
	entrypoint []string
	cmd        []string
	user       string
	copies     []copyInstruction
	// args are the names that it takes values for.
	args []string
	// runs are the shell commands, without their mounts.
	runs []string
}

type copyInstruction struct {
	from string // a stage, or empty for the build context
	src  []string
	dest string
	// owner is that of --chown.
	owner string
}

var copyFlag = regexp.MustCompile(`^--([a-z]+)=(\S+)\s+`)

// readDockerfile reads the instructions that our Dockerfile uses; another is an error.
func readDockerfile(path string) ([]stage, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	args := make(map[string]string) // those before the first FROM, which stand in it alone
	joined := strings.ReplaceAll(strings.Join(lines, "\n"), "\\\n", "")
	var stages []stage
	for line := range strings.Lines(joined) {
		keyword, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		if keyword == "FROM" {
			stages = append(stages, newStage(os.Expand(rest, func(name string) string {
				return cmp.Or(args[name], "$"+name) // the builder's own, such as BUILDPLATFORM
			})))
			continue
		}
		if len(stages) == 0 && keyword == "ARG" {
			name, value, _ := strings.Cut(rest, "=")
			args[name] = value
			continue
		}
		if len(stages) == 0 {
			return nil, fmt.Errorf("%s: %s before FROM", path, keyword)
		}
		if err := stages[len(stages)-1].read(keyword, rest); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, keyword, err)
		}
	}
	return stages, nil
}

// flags splits the flags off an instruction's arguments.
func flags(rest string) (map[string]string, string) {
	found := make(map[string]string)
	for {
		m := copyFlag.FindStringSubmatch(rest)
		if m == nil {
			return found, rest
		}
		found[m[1]], rest = m[2], rest[len(m[0]):]
	}
}

func newStage(rest string) stage {
	_, rest = flags(rest)
	words := strings.Fields(rest)
	s := stage{base: words[0]}
	if len(words) == 3 {
		s.name = words[2]
	}
	return s
}

func (s *stage) read(keyword, rest string) error {
	switch keyword {
	case "ARG":
		name, _, _ := strings.Cut(rest, "=")
		s.args = append(s.args, name)
	case "ENV", "WORKDIR":
	case "USER":
		s.user = rest
	case "ENTRYPOINT":
		return json.Unmarshal([]byte(rest), &s.entrypoint)
	case "CMD":
		return json.Unmarshal([]byte(rest), &s.cmd)
	case "RUN":
		_, rest = flags(rest)
		s.runs = append(s.runs, rest)
	case "COPY":
		f, rest := flags(rest)
		words := strings.Fields(rest)
		if len(words) < 2 {
			return fmt.Errorf("%q: needs a source and a destination", rest)
		}
		s.copies = append(s.copies, copyInstruction{f["from"], words[:len(words)-1], words[len(words)-1], f["chown"]})
	default:
		return fmt.Errorf("this test does not know the instruction")
	}
	return nil
}

func findStage(stages []stage, name string) (stage, error) {
	for _, s := range stages {
		if s.name == name {
			return s, nil
		}
	}
	return stage{}, fmt.Errorf("the Dockerfile has no stage %q", name)
}
