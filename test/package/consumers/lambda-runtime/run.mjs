/**
 * Runs a function as Lambda's runtime does: `node run.mjs <file> <event as JSON>` prints what the handler returns. As in AWS, `import` finds
 * packages in layers by NODE_PATH, which Node.js itself does for `require` only. AWS: "Node.js 18.x runtime now available in AWS Lambda".
 */
import { register } from 'node:module';
import { pathToFileURL } from 'node:url';

register('./layers.mjs', import.meta.url);
const [, , file, event] = process.argv;
const { handler } = await import(pathToFileURL(file).href);
console.log(JSON.stringify(await handler(JSON.parse(event))));
// Its connections are kept alive.
process.exit(0);
