"""Answers evaluations with LaunchDarkly's Python server SDK, one JSON object a line: see ../sdk-driver.ts."""
import json
import sys

import ldclient
from ldclient import Context
from ldclient.config import Config
from ldclient.feature_store import CacheConfig
from ldclient.integrations import DynamoDB

options = json.loads(sys.argv[1])
if options["mode"] == "daemon":
    store = DynamoDB.new_feature_store(
        options["table"],
        prefix=options["prefix"],
        dynamodb_opts={
            "endpoint_url": options["endpoint"],
            "region_name": "us-east-1",
            "aws_access_key_id": "local",
            "aws_secret_access_key": "local",
        },
        caching=CacheConfig.disabled(),
    )
    config = Config(options["sdkKey"], feature_store=store, use_ldd=True, send_events=False, diagnostic_opt_out=True)
else:
    config = Config(
        options["sdkKey"],
        stream_uri=options["relay"],
        base_uri=options["relay"],
        stream=options["mode"] == "streaming",
        poll_interval=30,
        send_events=options.get("events", False),
        events_uri=options["relay"],
        events_max_pending=100_000,
        diagnostic_opt_out=True,
    )
client = ldclient.LDClient(config=config, start_wait=20)
print(json.dumps({"ready": client.is_initialized()}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "track" in request:
        for number in range(*request["track"]):
            client.track(f"event-{number}", Context.create(f"user-{number % 50}"), metric_value=number)
        client.flush()
        print("{}", flush=True)
        continue
    detail = client.variation_detail(request["flag"], Context.from_dict(request["context"]), request["fallback"])
    answer = {"value": detail.value, "variationIndex": detail.variation_index, "reason": detail.reason}
    print(json.dumps(answer), flush=True)
client.close()
