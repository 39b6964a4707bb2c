// Reads one OTLP export request in protobuf from stdin, as the OpenTelemetry Collector's receiver does, and writes it as OTLP's JSON.
package main

import (
	"fmt"
	"io"
	"os"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

func main() {
	json, err := decode(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Stdout.Write(json)
}

func decode(signal string) ([]byte, error) {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	if signal == "traces" {
		request := ptraceotlp.NewExportRequest()
		if err := request.UnmarshalProto(body); err != nil {
			return nil, err
		}
		return request.MarshalJSON()
	}
	request := pmetricotlp.NewExportRequest()
	if err := request.UnmarshalProto(body); err != nil {
		return nil, err
	}
	return request.MarshalJSON()
}
