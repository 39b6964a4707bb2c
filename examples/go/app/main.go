package main

import (
	"cmp"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
)

func main() {
	relay := cmp.Or(os.Getenv("RELAY_URL"), "http://127.0.0.1:8030")
	client, err := ld.MakeCustomClient(cmp.Or(os.Getenv("LD_SDK_KEY"), "sdk-local"), ld.Config{
		// For streaming, polling and events.
		ServiceEndpoints: ldcomponents.RelayProxyEndpoints(relay),
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
