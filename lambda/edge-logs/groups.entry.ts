import { sendToAws } from '../common/aws-request.ts';
import { createEdgeLogGroups } from './groups.ts';

export const handler = createEdgeLogGroups({ send: (request) => sendToAws(request, process.env) });
