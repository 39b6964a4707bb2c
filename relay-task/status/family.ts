/**
 * Maps a client's User-Agent to a bounded set of names, because each distinct name becomes a metric label.
 * The families are the names in the User-Agent headers of LaunchDarkly's SDKs (`NodeJSClient/9.13.7`).
 */
const FAMILIES = new Set(
  (
    'GoClient NodeJSClient PythonClient RubyClient JavaClient DotNetClient PHPClient RustServerClient CPPServer CServerClient ' +
    'HaskellServerClient LuaServerClient ErlangClient AndroidClient iOS AppleClient DotnetClientSide XamarinClient ' +
    'FlutterClient ReactNativeClient RokuClient CClient CPPClient JSClient NodeClientSide ElectronClient ReactClient VueClient ' +
    'CloudflareSDK VercelSDK AkamaiSDK FastlySDK edge-flag-relay LDRelay'
  ).split(' '),
);
const LARGEST_MAJOR = 30;

/** `NodeJSClient/9`, or `other`. */
export function familyOf(userAgent: string | undefined): string {
  const [, name = '', major = ''] = /^([A-Za-z-]{1,30})\/v?(\d{1,3})(?:\.|$)/.exec(userAgent ?? '') ?? [];
  return FAMILIES.has(name) && Number(major) <= LARGEST_MAJOR ? `${name}/${Number(major)}` : 'other';
}
