/** The AWS SDK warns on Node 20 about its own releases of next year, once in each test file. */
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
