import http from 'node:http';
import express from 'express';
import { createHttpServer, mcpRouter } from 'express-mcp-router';
import { sdkFactory } from '../tools/sdk-v1.mjs';
import { listen } from './listening.mjs';
import { openServers } from './open-servers.mjs';
import { notifyAll } from './notify-all.mjs';
import { silentLogger } from './silent-logger.mjs';

/** This package. With `byRouter`, `router.notify` sends the notifications. Otherwise each session's own server sends them. */
export async function start({ fast, json, observed, stateless, byRouter, traced, ...settings }) {
  // Only a contender with telemetry pays for its import.
  const telemetry = traced && (await import('./tracing.mjs')).trace(traced);
  const servers = openServers(sdkFactory(settings));
  const mcp = mcpRouter({
    serverFactory: byRouter ? sdkFactory(settings) : servers.create,
    telemetry,
    stateless,
    enableJsonResponse: json,
    maxSessions: stateless ? undefined : 100_000,
    metrics: observed ? {} : false,
    logger: observed ? silentLogger() : false,
  });
  const app = express().use('/mcp', mcp);
  return {
    url: await listen(fast ? createHttpServer(app) : http.createServer(app)),
    notify: byRouter ? (data) => notifyAll(mcp, data) : servers.notify,
  };
}
