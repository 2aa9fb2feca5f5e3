package main

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// stateCode is the number of each breaker's state, from the recording rules.
const stateCode = `service_proxy:breakwater_breaker_state:code{` + selected + `}`

// query is a query and the name of its series.
type query struct{ expr, legend string }

// requests is the rate of the requests of each service that have these statuses ("": all).
func requests(statuses string) string {
	if statuses != "" {
		statuses = `,status=~"` + statuses + `"`
	}
	return `sum by (service) (` + fromZero(`gateway_proxy_requests_total{`+selected+statuses+`}`) + `)`
}

// share is what part of each service's requests has these statuses: 0, not nothing, where none has.
func share(statuses string) string {
	return "(" + requests(statuses) + " or 0 * " + requests("") + ") / (" + requests("") + " > 0)"
}

// fromZero is the rate of a counter of Envoy's with its first step, which a rate alone does not see: Envoy shows a counter
// once it has counted, and a rate takes two values. One that is new in a process that was scraped before has counted
// from 0. Without it the failures that open a breaker, which are few and the first, would not be shown.
func fromZero(counter string) string {
	return `(` + counter + ` unless ` + counter + ` offset $__rate_interval and on (job, instance) up offset $__rate_interval == 1)` +
		` * 1000 / $__rate_interval_ms or rate(` + counter + `[$__rate_interval])`
}

// abandoned is what part of each service's requests their clients left; these are not among those with a status.
func abandoned() string {
	left := `sum by (service) (` + fromZero(`gateway_proxy_abandoned_total{`+selected+`}`) + `)`
	return left + " / ((" + requests("") + " or 0 * " + left + ") + " + left + " > 0)"
}

func states() cog.Builder[dashboard.Panel] {
	return now("Circuit Breaker States", "The state of each service; where its proxies differ, the one that is farthest from closed.", 24, 5,
		query{"max by (service) (" + stateCode + ")", "{{service}}"}).
		Mappings(stateNames()).
		ColorMode(common.BigValueColorModeBackground).
		TextMode(common.BigValueTextModeValueAndName)
}

func timeline() cog.Builder[dashboard.Panel] {
	return statetimeline.NewPanelBuilder().
		Title("State Timeline").
		Description("The state of each service in each proxy.").
		Datasource(source).
		Span(24).Height(9).
		Mappings(stateNames()).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)).
		MergeValues(true).
		ShowValue(common.VisibilityModeAuto).
		RowHeight(0.8).
		FillOpacity(80).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(false).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)).
		WithTarget(target("A", query{stateCode, "{{service}} · {{proxy}}"}).Range())
}

func stateChanges() cog.Builder[dashboard.Panel] {
	return graph("Breaker State Changes", "Transitions a minute, by the state that was entered.", "opm",
		query{`60 * sum by (service, state) (rate(gateway_circuit_breaker_state_changes{service=~"$service"}[$__rate_interval]))`, "{{service}} → {{state}}"}).
		DrawStyle(common.GraphDrawStyleBars).
		Span(12).
		Min(0)
}

func ejectedHosts() cog.Builder[dashboard.Panel] {
	return graph("Ejected Hosts", "Hosts that Envoy has taken out, and those that take requests.", "short",
		query{`sum by (service, proxy) (envoy_cluster_outlier_detection_ejections_active{` + selected + `})`, "{{service}} · {{proxy}} ejected"},
		query{`sum by (service, proxy) (envoy_cluster_membership_healthy{` + selected + `})`, "{{service}} · {{proxy}} in rotation"}).
		OverrideByRegexp(".* in rotation", dashed()).
		Span(12).
		Min(0)
}

func volume() cog.Builder[dashboard.Panel] {
	return graph("Request Volume by Service", "Requests a second that callers sent.", "reqps", query{requests(""), "{{service}}"}).Min(0)
}

func successRate() cog.Builder[dashboard.Panel] {
	return graph("Request Success Rate by Service", "What part of the requests the service itself answered well. A fallback is no success.", "percentunit",
		query{share("success"), "{{service}}"}).Min(0).Max(1)
}

func errorRate() cog.Builder[dashboard.Panel] {
	return graph("Error Rate by Service", "What part of the requests ended in errors. What a breaker or a limit refused is under 503s by Cause. Beside it, how many of all were left by their clients before there was an answer.", "percentunit",
		query{share("error"), "{{service}}"},
		query{abandoned(), "{{service}} left by clients"}).
		OverrideByRegexp(".* left by clients", dashed()).
		Min(0).
		Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps([]dashboard.Threshold{
			{Color: "transparent"}, {Value: cog.ToPtr(0.1), Color: "red"},
		})).
		ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
}

func latency() cog.Builder[dashboard.Panel] {
	return graph("Request Latency p95", "95 of 100 requests took at most so long, retries included.", "s",
		query{`histogram_quantile(0.95, sum by (service, le) (` + fromZero(`gateway_proxy_request_duration_seconds_bucket{`+selected+`}`) + `))`, "{{service}}"}).Min(0)
}

func retries() cog.Builder[dashboard.Panel] {
	return graph("Retry Attempts by Service", "Retries a second, and those that the retry budget did not allow.", "ops",
		query{`sum by (service) (` + fromZero(`gateway_proxy_retries_total{`+selected+`}`) + `)`, "{{service}}"},
		query{`sum by (service) (` + fromZero(`envoy_cluster_upstream_rq_retry_overflow{`+selected+`}`) + `)`, "{{service}} over budget"}).
		OverrideByRegexp(".* over budget", dashed()).
		Min(0)
}

func unavailable() cog.Builder[dashboard.Panel] {
	count := func(metric string, more ...string) string {
		labels := strings.Join(append([]string{selected}, more...), ",")
		return `sum(` + fromZero(metric+`{`+labels+`}`) + `)`
	}
	limited := count("gateway_proxy_requests_total", `status="overloaded"`)
	// Envoy counts what half-open refuses as what a limit does: as overflows. The status of the request tells the two apart.
	overflows := count("envoy_cluster_upstream_rq_active_overflow") + " or vector(0)) + (" + count("envoy_cluster_upstream_rq_pending_overflow") + " or vector(0)"
	return graph("503s by Cause", "503s a second in Envoy, retried ones and those that a fallback stands in for included, and why. What no cause explains is the service's own.", "reqps",
		query{count("envoy_cluster_upstream_rq", `envoy_response_code="503"`), "all"},
		query{count("envoy_cluster_upstream_rq_maintenance_mode"), "breaker open"},
		query{"clamp_min((" + overflows + ") - (" + limited + " or vector(0)), 0)", "breaker half-open, probes taken"},
		query{count("envoy_cluster_upstream_cx_none_healthy"), "every host ejected"},
		query{limited, "a limit"},
		query{count("envoy_cluster_upstream_cx_connect_fail"), "no connection"},
		query{count("gateway_proxy_requests_total", `status="fallback"`), "answered by a fallback"}).
		OverrideByRegexp("all|answered by a fallback", dashed()).
		Min(0)
}

func configStatus() cog.Builder[dashboard.Panel] {
	return now("Config Status", "Whether all policies are in force. What has errors keeps its last good version.", 4, 6,
		query{"min(breakwater_config_last_reload_successful)", "policies"}).
		Mappings(names(
			value{0, "errors", "red"},
			value{1, "in force", "green"})).
		ColorMode(common.BigValueColorModeBackground)
}

func configProblems() cog.Builder[dashboard.Panel] {
	return now("Problems in Policies", "Of the last load, and what Envoy does not take. `breakwater status` names them.", 8, 6,
		query{"max by (severity) (breakwater_config_problems)", "{{severity}}s"},
		query{"max(breakwater_config_stale_services)", "services in an old version"},
		query{"sum(breakwater_xds_rejected_resources)", "rejected by Envoy"})
}

func proxies() cog.Builder[dashboard.Panel] {
	return now("Proxies", "Envoys that are connected to Breakwater, those whose admin API it reaches, and those that Prometheus reaches.", 8, 6,
		query{"sum(breakwater_connected_proxies)", "connected"},
		query{"sum(breakwater_proxy_reachable)", "reached"},
		query{`sum(up{job="envoy"})`, "scraped"})
}

func alerts() cog.Builder[dashboard.Panel] {
	return now("Alerts", "How many fire now.", 4, 6,
		query{`count(ALERTS{alertstate="firing",severity!="info"}) or vector(0)`, "firing"}).
		Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps([]dashboard.Threshold{
			{Color: "green"}, {Value: cog.ToPtr(1.0), Color: "red"},
		}))
}

func discovery() cog.Builder[dashboard.Panel] {
	return graph("Pushes to Proxies", "Resources that Breakwater sent, and that proxies accepted and rejected, a second.", "ops",
		query{"sum(rate(breakwater_xds_responses_total[$__rate_interval]))", "sent"},
		query{"sum(rate(breakwater_xds_acks_total[$__rate_interval]))", "accepted"},
		query{"sum by (type) (rate(breakwater_xds_nacks_total[$__rate_interval]))", "rejected {{type}}"}).
		Min(0)
}

func reports() cog.Builder[dashboard.Panel] {
	return graph("Load Report Lag", "Time since a proxy's last load report, of which there is one each 100 ms to 1 s. Without them no breaker opens or closes.", "s",
		query{`max by (proxy) (breakwater_load_report_lag_seconds{proxy=~"$proxy"})`, "{{proxy}}"}).
		Min(0)
}

func adminAPI() cog.Builder[dashboard.Panel] {
	return graph("Envoy's Admin API p95", "95 of 100 of Breakwater's questions to proxies took at most so long.", "s",
		query{`histogram_quantile(0.95, sum by (path, le) (rate(breakwater_envoy_admin_request_duration_seconds_bucket[$__rate_interval])))`, "{{path}}"}).
		Min(0)
}

// graph is a panel of lines over time.
func graph(title, description, unit string, queries ...query) *timeseries.PanelBuilder {
	p := timeseries.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(source).
		Unit(unit).
		Span(8).Height(8).
		FillOpacity(10).
		ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeTable).
			Placement(common.LegendPlacementBottom).Calcs([]string{"lastNotNull", "max"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for i, q := range queries {
		p.WithTarget(target(ref(i), q).Range())
	}
	return p
}

// now is a panel of the values at this moment.
func now(title, description string, width, height uint32, queries ...query) *stat.PanelBuilder {
	p := stat.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(source).
		Span(width).Height(height).
		GraphMode(common.BigValueGraphModeNone).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
	for i, q := range queries {
		p.WithTarget(target(ref(i), q).Instant())
	}
	return p
}

func target(refID string, q query) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(source).RefId(refID).Expr(q.expr).LegendFormat(q.legend)
}

// ref is the name of a panel's nth query, from 0.
func ref(n int) string { return string(rune('A' + n)) }

func dashed() []dashboard.DynamicConfigValue {
	return []dashboard.DynamicConfigValue{{
		Id: "custom.lineStyle", Value: map[string]any{"fill": "dash", "dash": []int{6, 6}},
	}}
}

// value is a number's name and color.
type value struct {
	number      int
	name, color string
}

// stateNames are the states by their number in the recording rule.
func stateNames() []dashboard.ValueMapping {
	return names(
		value{0, "closed", "green"},
		value{1, "half-open", "yellow"},
		value{2, "open", "red"},
		value{3, "forced open", "dark-red"},
		value{4, "disabled", "purple"},
		value{5, "unknown", "gray"},
	)
}

func names(values ...value) []dashboard.ValueMapping {
	m := dashboard.NewValueMap()
	for i, v := range values {
		m.Options[fmt.Sprint(v.number)] = dashboard.ValueMappingResult{
			Text: &v.name, Color: &v.color, Index: cog.ToPtr(int32(i)),
		}
	}
	return []dashboard.ValueMapping{{ValueMap: m}}
}
