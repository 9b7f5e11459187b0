import express from 'express';
import request from 'supertest';
import { createHealth, createReady, type Readiness } from '../../src/observe/health.js';

const appWith = (ready: () => Readiness) =>
  express().get('/healthz', createHealth()).get('/readyz', createReady(ready));

describe('liveness', () => {
  test.each<Readiness>(['ready', 'draining', 'full'])('is 200 while the router is %s', async (state) => {
    const response = await request(appWith(() => state)).get('/healthz');
    expect(response.status).toBe(200);
    expect(response.body).toEqual({ status: 'ok' });
  });
});

describe('readiness (whether new sessions are taken)', () => {
  test.each<[Readiness, number]>([
    ['ready', 200],
    ['draining', 503],
    ['full', 503],
  ])('%s is %d, with the word', async (state, status) => {
    const response = await request(appWith(() => state)).get('/readyz');
    expect(response.status).toBe(status);
    expect(response.body).toEqual({ status: state });
    expect(response.headers['content-type']).toMatch(/^application\/json/);
  });

  test('is asked for anew each time', async () => {
    let state: Readiness = 'ready';
    const app = appWith(() => state);
    await request(app).get('/readyz').expect(200);
    state = 'draining';
    await request(app).get('/readyz').expect(503);
    state = 'ready';
    await request(app).get('/readyz').expect(200);
  });

  test.each(['/healthz', '/readyz'])('%s is neither cached nor answered 304', async (path) => {
    const app = appWith(() => 'ready');
    const first = await request(app).get(path);
    expect(first.headers['cache-control']).toBe('no-store');
    expect(first.headers).not.toHaveProperty('etag');
    await request(app).get(path).set('If-None-Match', '*').expect(200);
  });

  test.each(['/healthz', '/readyz'])('%s answers HEAD without a body', async (path) => {
    const response = await request(appWith(() => 'ready')).head(path);
    expect(response.status).toBe(200);
    expect(response.text).toBeUndefined();
  });
});
