// Answers evaluations with LaunchDarkly's Java server SDK, one JSON object a line: see ../sdk-driver.ts.
import com.launchdarkly.sdk.EvaluationDetail;
import com.launchdarkly.sdk.LDContext;
import com.launchdarkly.sdk.LDValue;
import com.launchdarkly.sdk.json.JsonSerialization;
import com.launchdarkly.sdk.server.Components;
import com.launchdarkly.sdk.server.LDClient;
import com.launchdarkly.sdk.server.LDConfig;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

public class Driver {
  public static void main(String[] args) throws Exception {
    LDValue options = LDValue.parse(args[0]);
    String relay = options.get("relay").stringValue();
    boolean polling = options.get("mode").stringValue().equals("polling");
    LDConfig config = new LDConfig.Builder()
        .serviceEndpoints(Components.serviceEndpoints().relayProxy(relay))
        .dataSource(polling ? Components.pollingDataSource() : Components.streamingDataSource())
        .events(Components.noEvents())
        .diagnosticOptOut(true)
        .logging(Components.noLogging())
        .startWait(Duration.ofSeconds(20))
        .build();
    PrintStream out = new PrintStream(System.out, true, "UTF-8");
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (LDClient client = new LDClient(options.get("sdkKey").stringValue(), config)) {
      out.println(LDValue.buildObject().put("ready", client.isInitialized()).build().toJsonString());
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        LDValue request = LDValue.parse(line);
        LDContext context = JsonSerialization.deserialize(request.get("context").toJsonString(), LDContext.class);
        EvaluationDetail<LDValue> detail =
            client.jsonValueVariationDetail(request.get("flag").stringValue(), context, request.get("fallback"));
        LDValue index = detail.isDefaultValue() ? LDValue.ofNull() : LDValue.of(detail.getVariationIndex());
        out.println(LDValue.buildObject()
            .put("value", detail.getValue())
            .put("variationIndex", index)
            .put("reason", LDValue.parse(JsonSerialization.serialize(detail.getReason())))
            .build()
            .toJsonString());
      }
    }
  }
}
