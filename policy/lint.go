package policy

// Lint returns warnings about a valid Set.
func Lint(set *Set) []Problem { return nil }
