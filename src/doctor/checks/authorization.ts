import { expect, OK, problem, skipped, type CheckGroup, type Need } from '../check.js';
import { NoAnswer, Unreachable } from '../http-client.js';
import type { Probe } from '../probe.js';
import { fieldOf, isSuccess, type Reply } from '../reply.js';
import { AUTHORIZATION, HTTP } from '../spec.js';

const METADATA_PATH = '/.well-known/oauth-protected-resource';

const NO_REFUSAL = 'no request was refused with 401';

/** The first refusal with 401, if there was one. */
const refusal = ({ client }: Probe): Reply | undefined => client.replies.find(({ status }) => status === 401);

const REFUSES: Need = (probe) => (refusal(probe) === undefined ? NO_REFUSAL : undefined);

/** Where a client looks for the metadata, in its order. */
function metadataUrls(challenge: string, { options: { url } }: Probe): URL[] {
  const [, named] = /resource_metadata="?([^",\s]+)"?/.exec(challenge) ?? [];
  if (named !== undefined) return URL.canParse(named) && /^https?:/i.test(named) ? [new URL(named)] : [];
  return [new URL(METADATA_PATH + url.pathname, url), new URL(METADATA_PATH, url)];
}

/** How callers without a token are refused. */
export const AUTHORIZATION_CHECKS: CheckGroup = {
  name: 'Authorization',
  checks: [
    {
      id: 'challenge',
      title: 'A refusal with 401 names in `WWW-Authenticate` the way to authenticate',
      severity: 'error',
      source: `${HTTP}#section-15.5.2`,
      mend: 'Send `WWW-Authenticate: Bearer resource_metadata="…"` with each 401. Clients begin to sign in on it.',
      needs: [],
      run: async (probe) => {
        const names = Object.keys(probe.options.headers).map((name) => [name, undefined] as const);
        if (names.length > 0) await probe.beside(() => undefined, Object.fromEntries(names));
        const reply = refusal(probe);
        if (reply === undefined) return skipped(NO_REFUSAL);
        return expect(reply.headers['www-authenticate'] !== undefined, reply);
      },
    },
    {
      id: 'resource-metadata',
      title: 'The protected resource metadata names an authorization server',
      severity: 'warning',
      source: `${AUTHORIZATION}#protected-resource-metadata-discovery-requirements`,
      mend: 'Serve the document of RFC 9728, and name its URL in `WWW-Authenticate`. Only an authorization of your own needs none.',
      needs: [REFUSES],
      run: async (probe) => {
        const challenge = refusal(probe)?.headers['www-authenticate'] ?? '';
        if (!/^bearer\b/i.test(challenge)) return skipped('the endpoint asks for something else than a bearer token');
        const urls = metadataUrls(challenge, probe);
        for (const url of urls) if (await hasServers(probe, url)) return OK;
        return problem(`no document with authorization_servers at ${urls.join(' or ')}`);
      },
    },
  ],
};

async function hasServers({ client, options }: Probe, url: URL): Promise<boolean> {
  try {
    const reply = await client.send({ method: 'GET', headers: { accept: 'application/json' }, url, isBare: true });
    await reply.read(options.timeoutMs);
    reply.close();
    const servers = isSuccess(reply) ? fieldOf(reply.body.messages[0], 'authorization_servers') : undefined;
    return Array.isArray(servers) && servers.length > 0;
  } catch (error) {
    if (error instanceof NoAnswer || error instanceof Unreachable) return false;
    throw error;
  }
}
