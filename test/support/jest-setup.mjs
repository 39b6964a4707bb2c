/** On Node 20 the AWS SDK warns about its future releases, once per test file. */
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
