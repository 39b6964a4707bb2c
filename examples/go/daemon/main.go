package main

import (
	"cmp"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	lddynamodb "github.com/launchdarkly/go-server-sdk-dynamodb/v4"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
)

func main() {
	// The table's region and the credentials come from where the AWS SDK looks for them.
	table := lddynamodb.DataStore(cmp.Or(os.Getenv("FLAG_TABLE"), "edge-flag-relay-local"))
	client, err := ld.MakeCustomClient(cmp.Or(os.Getenv("LD_SDK_KEY"), "sdk-local"), ld.Config{
		DataSource: ldcomponents.ExternalUpdatesOnly(),
		DataStore:  ldcomponents.PersistentDataStore(table.Prefix(cmp.Or(os.Getenv("FLAG_PREFIX"), "local"))),
		// Events go to the relay, which sends them to LaunchDarkly.
		ServiceEndpoints: ldcomponents.RelayProxyEndpoints(cmp.Or(os.Getenv("RELAY_URL"), "http://127.0.0.1:8030")),
	}, 10*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	value, detail, err := client.StringVariationDetail("canary-checkout", ldcontext.New("tester"), "stable")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("canary-checkout: %s (%s)\n", value, detail.Reason.GetKind())
}
