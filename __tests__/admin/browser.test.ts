import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type axe from 'axe-core';
import express from 'express';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { adminPage, type AdminPageOptions } from '../../src/admin/index.js';
import type { CoreEvents } from '../../src/events.js';
import type { McpRouterOptions } from '../../src/index.js';
import { Inspection } from '../../src/inspection/inspection.js';
import { LocalInspection } from '../../src/inspection/local-inspection.js';
import { Recorder } from '../../src/inspection/recorder.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { AnyNodeSession } from '../cluster/any-node.js';
import { InProcessCluster } from '../cluster/in-process.js';
import { ensureDebianTool } from '../support/debian.js';
import { FakeClock } from '../support/fake-clock.js';
import { echoCall, JSON_HEADERS, initializeBody, openSession, post, start, type Harness } from '../support/harness.js';
import { sessionInfo } from '../support/session-info.js';
import { until } from '../support/waiting.js';

/** How long the first start may take, in ms: it downloads Debian's package if that is missing. */
const START_TIMEOUT = 600_000;
const AXE = readFileSync('node_modules/axe-core/axe.min.js', 'utf8');
const HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>';

let browser: Browser;
let page: Page;
/** What a page must never cause. */
let faults: string[];

beforeAll(async () => {
  const executablePath = await ensureDebianTool('chromium-headless-shell', 'chromium-headless-shell');
  browser = await chromium.launch({ executablePath, args: ['--disable-gpu', '--no-first-run'] });
}, START_TIMEOUT);
afterAll(() => browser.close());

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await page.context().close();
  for (const close of closing.splice(0)) await close();
  expect(faults).toEqual([]);
});

/** Ends the waits of the page in a tenth of their time: it asks its server every two seconds. */
const HURRY = 'const wait = setTimeout; window.setTimeout = (run, ms) => wait(run, ms / 10);';

/** Opens the page, and waits for its first numbers. */
async function visit(url: URL, options: BrowserContextOptions = {}): Promise<void> {
  faults = [];
  page = await (await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })).newPage();
  await page.addInitScript(HURRY);
  page.on('pageerror', ({ message }) => faults.push(message));
  // Chromium reports a violation of the policy, and an answer with an error, on the console.
  page.on('console', (message) => faults.push(message.text()));
  page.on('request', (request) => {
    if (new URL(request.url()).host !== url.host && !request.url().startsWith('data:')) faults.push(request.url());
  });
  await page.goto(new URL('/admin', url).href);
  await page.getByRole('button', { name: /^all \d/ }).waitFor();
}

async function serve(options: AdminPageOptions = {}, router: Partial<McpRouterOptions> = {}): Promise<Harness> {
  const harness = await start(
    { principal: (req) => req.headers['x-user'] as string | undefined, ...router },
    (app, mcp) => {
      app.use('/mcp', mcp);
      app.use('/admin', adminPage(mcp, options));
    },
  );
  closing.push(() => harness.close());
  return harness;
}

const as = (user: string) => ({ 'x-user': user });
const rows = () => page.locator('#rows tr');
const row = (text: string) => rows().filter({ hasText: text });
const button = (name: string | RegExp) => page.getByRole('button', { name, exact: typeof name === 'string' });
const status = (text: string) => page.getByRole('status').filter({ hasText: text }).waitFor();
const hasRows = (count: number) => until(`there are ${count} rows`, async () => (await rows().count()) === count);

async function openDetail(text: string): Promise<void> {
  await row(text).getByRole('button').click();
  await page.getByRole('heading', { name: /^Session [0-9a-f]{8}/ }).waitFor();
}

async function violations(options: axe.RunOptions): Promise<string[]> {
  const results = await page.evaluate<axe.AxeResults>(`${AXE};axe.run(${JSON.stringify(options)})`);
  return results.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}

describe('the admin page in a browser (docs/admin.md)', () => {
  test('shows sessions as they come and go, without a reload', async () => {
    const { url, router } = await serve();
    await visit(url);
    await page.getByText('No session is found.').waitFor();
    const id = await openSession(url, as('alice'));
    await row('alice').waitFor();
    await openSession(url, as('bob'));
    await hasRows(2);
    expect(await row('alice').innerText()).toContain(`${id.slice(0, 8)}\tactive`);
    await router.sessions.close(id);
    await hasRows(1);
    await button('all 1').waitFor();
  });

  test('finds sessions by a part of what they show, and by their state', async () => {
    const { url } = await serve();
    for (const user of ['alice', 'bob', 'carol']) await openSession(url, as(user));
    await visit(url);
    await hasRows(3);
    await page.getByLabel('Search').fill('BO');
    await hasRows(1);
    await row('bob').waitFor();
    await page.getByLabel('Search').fill('');
    await hasRows(3);
    await button(/^orphaned/).click();
    await page.getByText('No session is found.').waitFor();
  });

  test('ends one session, then all of a principal, each after a confirmation', async () => {
    const { url, router } = await serve();
    for (const user of ['alice', 'alice', 'bob']) await openSession(url, as(user));
    await visit(url);
    await openDetail('bob');
    await button('End the session').click();
    await button('Cancel').click();
    await button('End the session').click();
    await button('End').click();
    await status('One session was ended.');
    await hasRows(2);
    await page.getByRole('heading', { name: /has ended/ }).waitFor();
    await row('alice').first().getByRole('button').click();
    await button('End all sessions of the principal').click();
    await button('End').click();
    await status('2 sessions were ended.');
    expect(router.sessions.list()).toEqual([]);
  });

  test('shows the timeline of a session, and tells its client that a list has changed', async () => {
    const { url } = await serve();
    const session = { ...as('alice'), 'mcp-session-id': await openSession(url, as('alice')) };
    await visit(url);
    await openDetail('alice');
    await page.getByText('Events from now on appear here.').waitFor();
    const entry = page.getByRole('listitem').filter({ hasText: /^[\d:.]+tools\/call echo · ok · [\d.]+ ms$/ });
    // The timeline begins when the server has got the first question about the session.
    await until('a call is in the timeline', async () => {
      await (await post(url, echoCall(1, 'a'), session)).text();
      return (await entry.count()) > 0;
    });
    await page.locator('#own-list').selectOption('prompts');
    await page.locator('#own-changed').click();
    await status('Delivered to 0, stored for 0, dropped for 1.');
  });

  test('shows new events of a session after a pause in which the server began its timeline anew', async () => {
    const clock = new FakeClock();
    const { url } = await serve({}, { clock });
    const session = { ...as('alice'), 'mcp-session-id': await openSession(url, as('alice')) };
    await visit(url);
    await openDetail('alice');
    const looked = () => page.waitForResponse((response) => response.url().includes('/api/session?'));
    const entries = page.locator('#timeline li');
    const call = async () => (await post(url, echoCall(1, 'a'), session)).text();
    await looked();
    for (let n = 0; n < 3; n += 1) await call();
    await until('the calls are shown', async () => (await entries.count()) === 3);
    await button('Pause').click();
    clock.advance(60_000);
    const again = looked();
    await button('Pause').click();
    await again;
    await call();
    await until('the new call is shown', async () => (await entries.count()) > 3);
    expect(await entries.first().innerText()).toContain('tools/call echo');
  });

  test('is used with the keyboard alone, and keeps the focus while it refreshes', async () => {
    const { url, router } = await serve();
    await openSession(url, as('alice'));
    await visit(url);
    await hasRows(1);
    const focused = () => page.evaluate<string>(`document.activeElement?.textContent ?? ''`);
    const tabTo = async (text: string | RegExp): Promise<void> => {
      for (let steps = 0; steps < 40; steps += 1) {
        await page.keyboard.press('Tab');
        if ((await focused()).trim().match(text) !== null) return;
      }
      throw new Error(`The Tab key does not reach ${text}`);
    };
    await tabTo('Skip to the sessions');
    await page.keyboard.press('Enter');
    await tabTo(/^[0-9a-f]{8}$/);
    const id = await focused();
    // Another row comes above it.
    await openSession(url, as('bob'));
    await hasRows(2);
    expect(await focused()).toBe(id);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: `Session ${id}` }).waitFor();
    expect(await focused()).toBe(`Session ${id}`);
    await page.keyboard.press('Escape');
    expect(await focused()).toBe(id);
    await page.keyboard.press('Enter');
    await tabTo('End the session');
    await page.keyboard.press('Enter');
    expect(await focused()).toBe('Cancel');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    await status('One session was ended.');
    expect(router.sessions.list()).toMatchObject([{ principal: 'bob' }]);
  });

  test.each([
    ['light', {}],
    // Only the colors differ.
    ['dark', { runOnly: ['color-contrast'] }],
  ] as const)('has no fault that axe finds, %s', async (colorScheme, options) => {
    const { url } = await serve();
    await openSession(url, as('alice'));
    await visit(url, { colorScheme });
    await openDetail('alice');
    const [background] = await page.evaluate<string[]>(
      'getComputedStyle(document.body).backgroundColor.match(/\\d+/g)',
    );
    expect(Number(background) < 128).toBe(colorScheme === 'dark');
    expect(await violations(options as axe.RunOptions)).toEqual([]);
    await button('End the session').click();
    expect(await violations(options as axe.RunOptions)).toEqual([]);
  });

  test('shows names of clients and principals as text, whatever they contain', async () => {
    const { url } = await serve({}, { principal: () => HOSTILE });
    const body = initializeBody();
    const clientInfo = { name: HOSTILE, version: '"><b>1</b>' };
    const hostile = { ...body, params: { ...body.params, clientInfo } };
    await (await fetch(url, { method: 'POST', headers: JSON_HEADERS, body: JSON.stringify(hostile) })).text();
    await visit(url);
    await openDetail('onerror');
    expect(await page.locator('#facts').innerText()).toContain(HOSTILE);
    await button('End all sessions of the principal').click();
    expect(await page.locator('#question').innerText()).toContain(HOSTILE);
    expect(await page.locator('img, #rows b, main script').count()).toBe(0);
    expect(await page.title()).toBe('MCP sessions');
  });

  test('offers no change where it is read-only', async () => {
    const { url } = await serve({ readOnly: true });
    await openSession(url, as('alice'));
    await visit(url);
    await openDetail('alice');
    expect(await button(/^End|has changed/).count()).toBe(0);
  });

  test('cannot be changed by a page of another site, whatever the browser sends along', async () => {
    const { url, router } = await serve();
    await openSession(url, as('alice'));
    const evil = createServer((_req, res) => res.setHeader('content-type', 'text/html').end('<title>evil</title>'));
    await once(evil.listen(0, '127.0.0.1'), 'listening');
    closing.push(() => new Promise((closed) => evil.close(closed).closeAllConnections()));
    await visit(url);
    await page.goto(`http://127.0.0.1:${(evil.address() as AddressInfo).port}/`);
    const target = new URL('/admin/api/close-principal', url).href;
    const sent = await page.evaluate(async (to) => {
      const body = '{"principal":"alice"}';
      const attempts: RequestInit[] = [
        { headers: { 'content-type': 'application/json' } },
        { headers: { 'content-type': 'text/plain' } },
        { mode: 'no-cors' },
        { mode: 'no-cors', credentials: 'include', keepalive: true },
      ];
      const results: string[] = [];
      for (const attempt of attempts) {
        const sending = fetch(to, { method: 'POST', body, ...attempt });
        await sending.then(
          () => results.push('read'),
          () => results.push('blocked'),
        );
      }
      return results;
    }, target);
    expect(sent).toEqual(['blocked', 'blocked', 'blocked', 'blocked']);
    expect(router.sessions.list()).toHaveLength(1);
    faults = [];
  });
});

/** A page over sessions that no client has opened, as ten thousand clients would take longer than the rest of the tests. */
async function serveMany(count: number): Promise<URL> {
  const clock = new FakeClock();
  const events = new Emitter<CoreEvents>(() => undefined);
  const sessions = Array.from({ length: count }, (_, i) => {
    const id = `${String(i).padStart(8, '0')}-of-many`;
    const principal = `user ${i}`;
    const info = sessionInfo({ id, principal, ageMs: i, openedAt: 1_800_000_000_000 - i });
    return { ...info, membership: undefined, info: () => info };
  });
  const registry = {
    all: () => sessions,
    get: (id: string) => sessions.find((session) => session.id === id),
    stats: () => ({ initializing: 0, active: count, orphaned: 0, hibernated: 0 }),
  };
  const recorder = new Recorder(events, clock);
  const local = new LocalInspection(registry as never, recorder, 'secret');
  const report = (error: unknown) => faults.push(String(error));
  const inspection = new Inspection({ local, recorder, clock, report, isHostAllowed: () => true });
  const app = express().use('/admin', adminPage({ inspection } as never));
  const http: HttpServer = app.listen(0, '127.0.0.1');
  await once(http, 'listening');
  closing.push(() => new Promise((closed) => http.close(closed).closeAllConnections()));
  return new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}`);
}

test('with 10,000 sessions, the page has 50 rows at a time and reaches each session', async () => {
  await visit(await serveMany(10_000));
  await hasRows(50);
  await page.getByText('1 to 50 of 10,000').waitFor();
  await button('Next').click();
  await page.getByText('51 to 100 of 10,000').waitFor();
  await row('user 99').waitFor();
  await page.getByRole('columnheader', { name: 'Age' }).getByRole('button').click();
  await row('user 9999').waitFor();
  await page.getByText('1 to 50 of 10,000').waitFor();
  await page.getByLabel('Search').fill('user 777');
  await page.getByText('1 to 11 of 11').waitFor();
  expect(await page.locator('*').count()).toBeLessThan(700);
});

describe('the admin page of a cluster', () => {
  const cluster = InProcessCluster.ofSuite();

  test('shows and ends the sessions of all three nodes, and names a node that does not answer', async () => {
    const nodes = await cluster.nodes(3);
    const [first, second] = nodes;
    const app = express().use('/admin', adminPage(first!.router));
    const http = app.listen(0, '127.0.0.1');
    await once(http, 'listening');
    closing.push(() => new Promise((closed) => http.close(closed).closeAllConnections()));
    for (const { url } of nodes) await AnyNodeSession.open(url);
    await visit(new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}`));
    await hasRows(3);
    await page.getByText('3 nodes').waitFor();
    const [remote] = second!.router.sessions.list();
    const { node, id } = remote!;
    expect(new Set(await page.locator('#rows td:nth-child(3)').allInnerTexts()).size).toBe(3);
    await row(node!).getByRole('button').click();
    await page.getByRole('heading', { name: `Session ${id.slice(0, 8)}` }).waitFor();
    await button('End the session').click();
    await button('End').click();
    await status('One session was ended.');
    expect(second!.router.sessions.list()).toEqual([]);
    await page.getByRole('listitem').filter({ hasText: 'closed · reason: deleted' }).waitFor();
    // The suite closes the nodes before the context. A page that still asks would get 404.
    await page.close();
  });
});
