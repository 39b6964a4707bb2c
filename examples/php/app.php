<?php
require 'vendor/autoload.php';

use LaunchDarkly\LDClient;
use LaunchDarkly\LDContext;

$relay = getenv('RELAY_URL') ?: 'http://127.0.0.1:8030';
$client = new LDClient(getenv('LD_SDK_KEY') ?: 'sdk-local', ['base_uri' => $relay, 'events_uri' => $relay]);

$detail = $client->variationDetail('canary-checkout', LDContext::create('tester'), 'stable');
echo "canary-checkout: {$detail->getValue()} ({$detail->getReason()->getKind()})\n";
