import os

import ldclient
from ldclient import Context
from ldclient.config import Config
from ldclient.integrations import DynamoDB

# The table's region and the credentials come from where boto3 looks for them.
store = DynamoDB.new_feature_store(
    os.environ.get("FLAG_TABLE", "edge-flag-relay-local"), prefix=os.environ.get("FLAG_PREFIX", "local")
)
ldclient.set_config(
    Config(
        os.environ.get("LD_SDK_KEY", "sdk-local"),
        feature_store=store,
        use_ldd=True,
        # Events go to the relay, which sends them to LaunchDarkly.
        events_uri=os.environ.get("RELAY_URL", "http://127.0.0.1:8030"),
    )
)
client = ldclient.get()

detail = client.variation_detail("canary-checkout", Context.create("tester"), "stable")
print(f"canary-checkout: {detail.value} ({detail.reason['kind']})")

client.flush()
client.close()
