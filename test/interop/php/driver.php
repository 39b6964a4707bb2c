<?php
// Answers with LaunchDarkly's PHP server SDK, one JSON object a line: see ../sdk-driver.ts. Every question gets a client of its
// own, as every request of a web server does. Without a flag, the answer is the state of all flags.
declare(strict_types=1);

use LaunchDarkly\Integrations\DynamoDb;
use LaunchDarkly\Integrations\PHPRedis;
use LaunchDarkly\LDClient;
use LaunchDarkly\LDContext;
use Monolog\Handler\StreamHandler;
use Monolog\Logger;

require __DIR__ . '/../../../.cache/interop/php/vendor/autoload.php';
// The SDK reads missing fields with a warning, before it fails or goes on with null.
set_error_handler(function (int $level, string $message, string $file, int $line): bool {
    if (!(error_reporting() & $level) || $level & (E_DEPRECATED | E_USER_DEPRECATED)) return false;
    throw new ErrorException($message, 0, $level, $file, $line);
});

$options = json_decode($argv[1], true);
$logger = new Logger('php', [new StreamHandler('php://stderr')]);
$settings = ['send_events' => false, 'logger' => $logger];
if ($options['mode'] === 'redis') {
    $redis = new Redis();
    $redis->connect('127.0.0.1', $options['port']);
    $settings['feature_requester'] = PHPRedis::featureRequester($redis, ['prefix' => $options['prefix']]);
} elseif ($options['mode'] === 'daemon') {
    $settings['feature_requester'] = DynamoDb::featureRequester([
        'dynamodb_table' => $options['table'],
        'dynamodb_prefix' => $options['prefix'],
        'dynamodb_options' => [
            'endpoint' => $options['endpoint'],
            'region' => 'us-east-1',
            'credentials' => ['key' => 'local', 'secret' => 'local'],
        ],
    ]);
} else {
    $settings['base_uri'] = $options['relay'];
}

function answer(LDClient $client, array $question): mixed
{
    $context = LDContext::fromJson(json_encode($question['context']));
    if (!isset($question['flag'])) {
        $state = $client->allFlagsState($context);
        return ['valid' => $state->isValid(), 'values' => (object) $state->toValuesMap()];
    }
    $detail = $client->variationDetail($question['flag'], $context, $question['fallback']);
    return [
        'value' => $detail->getValue(),
        'variationIndex' => $detail->getVariationIndex(),
        'reason' => $detail->getReason(),
    ];
}

echo json_encode(['ready' => true, 'version' => LDClient::VERSION]), "\n";
while (($line = fgets(STDIN)) !== false) {
    try {
        echo json_encode(answer(new LDClient($options['sdkKey'], $settings), json_decode($line, true))), "\n";
    } catch (Throwable $error) {
        echo json_encode(['failed' => get_class($error) . ': ' . $error->getMessage()]), "\n";
    }
}
