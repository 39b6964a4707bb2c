// Resolves the Node SDK and its DynamoDB store to the packages of their earlier names, which this repository's tests have.
const Module = require('node:module');

process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = '1';
const resolve = Module._resolveFilename;
Module._resolveFilename = (request, ...others) =>
  resolve(request.replace(/^@launchdarkly\/(?=node-server-sdk(-dynamodb)?$)/, 'launchdarkly-'), ...others);

// Their AWS SDK does not know the variable.
const { config } = require('aws-sdk');
config.update({ dynamodb: { endpoint: process.env.AWS_ENDPOINT_URL_DYNAMODB } });
