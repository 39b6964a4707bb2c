// Answers evaluations with LaunchDarkly's Go server SDK, one JSON object a line: see ../sdk-driver.ts.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldlog"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	lddynamodb "github.com/launchdarkly/go-server-sdk-dynamodb/v4"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/interfaces"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
)

type options struct{ Mode, SdkKey, Relay, Endpoint, Table, Prefix string }

type request struct {
	Flag     string            `json:"flag"`
	Context  ldcontext.Context `json:"context"`
	Fallback ldvalue.Value     `json:"fallback"`
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	var o options
	check(json.Unmarshal([]byte(os.Args[1]), &o))
	config := ld.Config{
		Events:           ldcomponents.NoEvents(),
		DiagnosticOptOut: true,
		Logging:          ldcomponents.Logging().MinLevel(ldlog.Error),
	}
	switch o.Mode {
	case "daemon":
		store := dynamodb.Options{
			Region:           "us-east-1",
			EndpointResolver: dynamodb.EndpointResolverFromURL(o.Endpoint),
			Credentials:      aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider("local", "local", "")),
		}
		config.DataSource = ldcomponents.ExternalUpdatesOnly()
		config.DataStore = ldcomponents.PersistentDataStore(
			lddynamodb.DataStore(o.Table).Prefix(o.Prefix).ClientOptions(store)).NoCaching()
	case "polling":
		config.DataSource = ldcomponents.PollingDataSource()
	}
	if o.Mode != "daemon" {
		config.ServiceEndpoints = interfaces.ServiceEndpoints{Streaming: o.Relay, Polling: o.Relay, Events: o.Relay}
	}
	client, err := ld.MakeCustomClient(o.SdkKey, config, 20*time.Second)
	check(err)
	out := json.NewEncoder(os.Stdout)
	check(out.Encode(map[string]bool{"ready": client.Initialized()}))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var r request
		check(json.Unmarshal(lines.Bytes(), &r))
		value, detail, _ := client.JSONVariationDetail(r.Flag, r.Context, r.Fallback)
		check(out.Encode(map[string]interface{}{
			"value": value, "variationIndex": detail.VariationIndex, "reason": detail.Reason,
		}))
	}
	check(client.Close())
}
