package translate

import (
	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	statsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	transformv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/actions/transform_stat/v3"
	inputv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/stats/v3"
)

// tagRule changes the value of a tag that is exactly something or, if it has an expression, matches that (RE2, of the
// whole value): to another one, or by leaving the tag or the whole stat out.
type tagRule struct {
	exact, expression string
	becomes           string
	dropTag, dropStat bool
}

// tagBuilder builds the tags of a stats access logger. Its first error stays.
type tagBuilder struct{ err error }

// build makes a tag of a format and of rules, of which the first that matches is taken, and otherwise for a value that
// none matches; nil leaves that as it is.
func (b *tagBuilder) build(name, format string, otherwise *tagRule, rules ...tagRule) *statsv3.Config_Tag {
	matchers := make([]*matcherv3.Matcher_MatcherList_FieldMatcher, 0, len(rules))
	input := b.extension("tag_value", &inputv3.StatTagValueInput{})
	for _, r := range rules {
		value := &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: r.exact}}
		if r.expression != "" {
			value.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{
				EngineType: &matcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &matcherv3.RegexMatcher_GoogleRE2{}}, Regex: r.expression,
			}}
		}
		matchers = append(matchers, &matcherv3.Matcher_MatcherList_FieldMatcher{
			Predicate: &matcherv3.Matcher_MatcherList_Predicate{
				MatchType: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
					SinglePredicate: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
						Input:   input,
						Matcher: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: value},
					},
				},
			},
			OnMatch: b.action(r),
		})
	}
	m := &matcherv3.Matcher{MatcherType: &matcherv3.Matcher_MatcherList_{
		MatcherList: &matcherv3.Matcher_MatcherList{Matchers: matchers},
	}}
	if otherwise != nil {
		m.OnNoMatch = b.action(*otherwise)
	}
	return &statsv3.Config_Tag{Name: name, ValueFormat: format, Rules: m}
}

func (b *tagBuilder) action(r tagRule) *matcherv3.Matcher_OnMatch {
	t := &transformv3.TransformStat{}
	switch {
	case r.dropStat:
		t.DropStat = &transformv3.TransformStat_DropStat{}
	case r.dropTag:
		t.DropTag = &transformv3.TransformStat_DropTag{}
	default:
		t.UpdateTag = &transformv3.TransformStat_UpdateTag{NewTagValue: r.becomes}
	}
	return &matcherv3.Matcher_OnMatch{OnMatch: &matcherv3.Matcher_OnMatch_Action{Action: b.extension("transform", t)}}
}

func (b *tagBuilder) extension(name string, m validated) *xdscorev3.TypedExtensionConfig {
	packed, err := pack(m)
	if err != nil && b.err == nil {
		b.err = err
	}
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: packed}
}
