// OAuth 2: verified tokens, a 401 that tells clients where to sign in, metadata, web pages (docs/authentication.md).
// npm install express-mcp-router express @modelcontextprotocol/sdk jose
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import type { OAuthTokenVerifier } from '@modelcontextprotocol/sdk/server/auth/provider.js';
import {
  getOAuthProtectedResourceMetadataUrl,
  mcpAuthMetadataRouter,
} from '@modelcontextprotocol/sdk/server/auth/router.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import express from 'express';
import { HttpError, mcpRouter, stop, type ServerContext } from 'express-mcp-router';
import { createRemoteJWKSet, errors, jwtVerify } from 'jose';

const port = Number(process.env.PORT ?? 3000);
const issuer = process.env.OAUTH_ISSUER ?? 'https://idp.example';
const jwks = new URL(process.env.OAUTH_JWKS_URL ?? `${issuer}/jwks.json`);
/** The endpoint as clients reach it. Tokens are issued for it. */
const endpoint = new URL(process.env.PUBLIC_URL ?? `http://localhost:${port}/mcp`);

const keys = createRemoteJWKSet(jwks);
const verifier: OAuthTokenVerifier = {
  async verifyAccessToken(token) {
    const claims = { issuer, audience: endpoint.href, requiredClaims: ['sub', 'exp'] };
    const { payload } = await jwtVerify(token, keys, claims).catch((error: unknown) => {
      throw error instanceof errors.JOSEError ? new InvalidTokenError('Token is not valid') : error;
    });
    const { iss, sub, exp = 0, client_id, scope = '', plan } = payload;
    const scopes = String(scope).split(' ');
    return { token, clientId: String(client_id), scopes, expiresAt: exp, extra: { iss, sub, plan } };
  },
};

function serverFactory({ req, principal }: ServerContext): McpServer {
  if (req.auth?.extra?.plan === 'none') throw new HttpError(403, { message: 'Your plan has no access to this server' });
  const server = new McpServer({ name: 'authentication', version: '1.0.0' });
  server.registerTool('whoami', { description: 'Says who you are' }, () => ({
    content: [{ type: 'text', text: principal ?? 'nobody' }],
  }));
  return server;
}

const resourceMetadataUrl = getOAuthProtectedResourceMetadataUrl(endpoint);
const mcp = mcpRouter({
  serverFactory,
  perRequest: true,
  requirePrincipal: true,
  resourceMetadataUrl,
  allowedOrigins: ['https://app.example.com'],
  metrics: { route: false },
});

const app = express();
app.use(
  mcpAuthMetadataRouter({
    oauthMetadata: {
      issuer,
      authorization_endpoint: new URL('/authorize', issuer).href,
      token_endpoint: new URL('/token', issuer).href,
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
    },
    resourceServerUrl: endpoint,
  }),
);
app.use('/mcp', mcp.preflight, requireBearerAuth({ verifier, resourceMetadataUrl }), mcp);
const server = app.listen(port, '127.0.0.1');

process.once('SIGTERM', () => {
  void stop(server, mcp, { timeoutMs: 10_000 }).then(() => process.exit());
});
