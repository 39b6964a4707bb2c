import com.launchdarkly.sdk.EvaluationDetail;
import com.launchdarkly.sdk.LDContext;
import com.launchdarkly.sdk.server.Components;
import com.launchdarkly.sdk.server.LDClient;
import com.launchdarkly.sdk.server.LDConfig;

public class App {
  public static void main(String[] args) throws Exception {
    String relay = System.getenv().getOrDefault("RELAY_URL", "http://127.0.0.1:8030");
    LDConfig config = new LDConfig.Builder()
        // For streaming, polling and events.
        .serviceEndpoints(Components.serviceEndpoints().relayProxy(relay))
        .build();
    try (LDClient client = new LDClient(System.getenv().getOrDefault("LD_SDK_KEY", "sdk-local"), config)) {
      EvaluationDetail<String> detail =
          client.stringVariationDetail("canary-checkout", LDContext.create("tester"), "stable");
      System.out.printf("canary-checkout: %s (%s)%n", detail.getValue(), detail.getReason().getKind());
    }
  }
}
