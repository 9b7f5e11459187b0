import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { Post } from '../../src/http/receive.js';

/** A POST of requests with these IDs. */
export function postOf(...ids: RequestId[]): Post {
  return {
    messages: ids.map((id) => ({ jsonrpc: '2.0', id, method: 'ping' })),
    batch: ids.length > 1,
    initialize: undefined,
    form: 'any',
    raw: undefined,
    memory: 0,
  };
}
