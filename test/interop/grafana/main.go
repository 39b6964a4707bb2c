// Reads dashboards for Grafana, a JSON object of them by name, and prints what is wrong with each by Grafana's own schemas:
// of the dashboard, and of the kinds of panels and queries that it uses. Unknown fields are errors.
package main

import (
	"encoding/json"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	given := map[string]json.RawMessage{}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		panic(err)
	}
	found := map[string]string{}
	for name, raw := range given {
		found[name] = problemOf(raw)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		panic(err)
	}
}

func problemOf(raw json.RawMessage) string {
	parsed := dashboard.Dashboard{}
	if err := parsed.UnmarshalJSONStrict(raw); err != nil {
		return err.Error()
	}
	if err := parsed.Validate(); err != nil {
		return err.Error()
	}
	return ""
}
