import os

import ldclient
from ldclient import Context
from ldclient.config import Config

relay = os.environ.get("RELAY_URL", "http://127.0.0.1:8030")
ldclient.set_config(
    Config(os.environ.get("LD_SDK_KEY", "sdk-local"), stream_uri=relay, base_uri=relay, events_uri=relay)
)
client = ldclient.get()

detail = client.variation_detail("canary-checkout", Context.create("tester"), "stable")
print(f"canary-checkout: {detail.value} ({detail.reason['kind']})")

client.flush()
client.close()
