// ask is prometheus-adapter's own code as a filter: does a config load, and what would Prometheus be asked?
//
// It reads JSON lines {"config": YAML, "requests": [{metric, resource, namespace, names}]} and answers each with one
// line {"error": why} or {"discovery": [series queries], "queries": [one for each request]}.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/prometheus-adapter/pkg/config"
	"sigs.k8s.io/prometheus-adapter/pkg/naming"
)

type question struct {
	Config   string    `json:"config"`
	Requests []request `json:"requests"`
}

type request struct {
	// The name of the metric as the rule's name.as says it.
	Metric string `json:"metric"`
	// "pods", "deployments.apps".
	Resource  string   `json:"resource"`
	Namespace string   `json:"namespace"`
	Names     []string `json:"names"`
}

type answer struct {
	Error     string   `json:"error,omitempty"`
	Discovery []string `json:"discovery,omitempty"`
	Queries   []string `json:"queries,omitempty"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	mapper := restMapper()
	for in.Scan() {
		var asked question
		if err := json.Unmarshal(in.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		told, err := ask(asked, mapper)
		if err != nil {
			told = answer{Error: err.Error()}
		}
		if err := out.Encode(told); err != nil {
			os.Exit(1)
		}
	}
	if in.Err() != nil {
		fmt.Fprintln(os.Stderr, in.Err())
		os.Exit(1)
	}
}

// ask loads the config as the adapter does at its start, and builds the queries as it does for a request.
func ask(asked question, mapper apimeta.RESTMapper) (answer, error) {
	loaded, err := config.FromYAML([]byte(asked.Config))
	if err != nil {
		return answer{}, err
	}
	namers, err := naming.NamersFromConfig(loaded.Rules, mapper)
	if err != nil {
		return answer{}, err
	}
	var told answer
	seen := map[string]bool{}
	// The last rule of a name wins, as in the adapter's registry.
	byName := map[string]naming.MetricNamer{}
	for at, namer := range namers {
		selector := string(namer.Selector())
		if !seen[selector] {
			seen[selector] = true
			told.Discovery = append(told.Discovery, selector)
		}
		byName[loaded.Rules[at].Name.As] = namer
	}
	for _, request := range asked.Requests {
		namer := byName[request.Metric]
		if namer == nil {
			return answer{}, fmt.Errorf("no rule is named %q", request.Metric)
		}
		resource := schema.ParseGroupResource(request.Resource)
		query, err := namer.QueryForSeries("series", resource, request.Namespace, labels.Everything(), request.Names...)
		if err != nil {
			return answer{}, fmt.Errorf("%s: %w", request.Metric, err)
		}
		told.Queries = append(told.Queries, string(query))
	}
	return told, nil
}

// restMapper knows the resources that rules map labels to, as a cluster's discovery would tell.
func restMapper() apimeta.RESTMapper {
	core, apps := schema.GroupVersion{Version: "v1"}, schema.GroupVersion{Group: "apps", Version: "v1"}
	mapper := apimeta.NewDefaultRESTMapper([]schema.GroupVersion{core, apps})
	mapper.Add(core.WithKind("Pod"), apimeta.RESTScopeNamespace)
	mapper.Add(core.WithKind("Service"), apimeta.RESTScopeNamespace)
	mapper.Add(core.WithKind("Namespace"), apimeta.RESTScopeRoot)
	mapper.Add(core.WithKind("Node"), apimeta.RESTScopeRoot)
	mapper.Add(apps.WithKind("Deployment"), apimeta.RESTScopeNamespace)
	mapper.Add(apps.WithKind("StatefulSet"), apimeta.RESTScopeNamespace)
	return mapper
}
