package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// source is the Prometheus that the reader chose; the provisioned one to begin with.
var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

// annotationStep is the time between the points at which annotations are looked for.
const annotationStep = "5s"

// selected are the services and proxies that the reader chose.
const selected = `service=~"$service",proxy=~"$proxy"`

// circuitBreakers is a dashboard of the schema that all versions of Grafana take; the newer one is for Grafana's API alone.
func circuitBreakers() *dashboard.DashboardBuilder { //nolint:staticcheck // see above
	d := dashboard.NewDashboardBuilder("Circuit breakers") //nolint:staticcheck // see above
	return d.Uid("breakwater-circuit-breakers").
		Description("The services behind the gateway: their circuit breakers, requests and retries, and Breakwater itself.").
		Tags([]string{"breakwater", "envoy"}).
		Readonly().
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Time("now-30m", "now").
		Refresh("5s").
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").
			Label("Data source").
			Type("prometheus").
			Current(option("Prometheus", "prometheus"))).
		WithVariable(choice("service", "Service", "label_values(breakwater_breaker_state, service)")).
		WithVariable(choice("proxy", "Proxy", `label_values(breakwater_breaker_state{service=~"$service"}, proxy)`)).
		Annotation(annotation("Breakers open", "red",
			`max by (service) (service_proxy:breakwater_breaker_state:code{`+selected+`} == 2)`,
			"{{service}} is open")).
		Annotation(annotation("Forced and disabled", "purple",
			`max by (service) (service_proxy:breakwater_breaker_state:code{`+selected+`} == 3 or service_proxy:breakwater_breaker_state:code{`+selected+`} == 4)`,
			"{{service}} is set by an operator")).
		Annotation(annotation("Alerts", "orange",
			`ALERTS{alertstate="firing", service=~"$service|"}`,
			"{{alertname}} {{service}}")).
		Annotation(annotation("Policies with errors", "yellow",
			`breakwater_config_last_reload_successful == 0`,
			"The policies have errors")).
		WithRow(dashboard.NewRowBuilder("Circuit breakers")).
		WithPanel(states()).
		WithPanel(timeline()).
		WithPanel(stateChanges()).
		WithPanel(ejectedHosts()).
		WithRow(dashboard.NewRowBuilder("Requests")).
		WithPanel(volume()).
		WithPanel(successRate()).
		WithPanel(errorRate()).
		WithPanel(latency()).
		WithPanel(retries()).
		WithPanel(unavailable()).
		WithRow(dashboard.NewRowBuilder("Breakwater")).
		WithPanel(configStatus()).
		WithPanel(configProblems()).
		WithPanel(proxies()).
		WithPanel(alerts()).
		WithPanel(discovery()).
		WithPanel(reports()).
		WithPanel(adminAPI())
}

func option(text, value string) dashboard.VariableOption {
	return dashboard.VariableOption{
		Text:  dashboard.StringOrArrayOfString{String: &text},
		Value: dashboard.StringOrArrayOfString{String: &value},
	}
}

// choice is a variable of which all values are chosen to begin with.
func choice(name, label, query string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).
		Label(label).
		Datasource(source).
		Query(dashboard.StringOrMap{String: &query}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortAlphabeticalAsc).
		Multi(true).
		IncludeAll(true).
		AllValue(".*").
		Current(option("All", "$__all"))
}

// annotation marks the time in which an expression has a value.
func annotation(name, color, expr, title string) *dashboard.AnnotationQueryBuilder {
	return dashboard.NewAnnotationQueryBuilder().
		Name(name).
		Datasource(source).
		Enable(true).
		IconColor(color).
		Expr(expr).
		// As often as the rules are evaluated: Grafana's own minute skips what is shorter.
		Step(annotationStep).
		TitleFormat(title).
		Target(prometheus.NewDataqueryBuilder().Expr(expr).Range().RefId("A").Interval(annotationStep))
}
