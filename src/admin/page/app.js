// The page polls while it is visible. All that it shows is set as text, never as HTML.
'use strict';

const POLL_MS = 2_000;
const LIMIT = 50;
const STATES = ['active', 'orphaned', 'hibernated', 'initializing'];
const RATES = [
  ['settled', 'requests/s'],
  ['failed', 'failed/s'],
  ['opened', 'opened/s'],
  ['closed', 'ended/s'],
  ['rejected', 'refused/s'],
];
/** Title, order, and the text of a row. */
const COLUMNS = [
  ['Session', undefined, (row) => row.shortId],
  ['State', 'state', (row) => (row.orphanCause === undefined ? row.state : `${row.state} (${row.orphanCause})`)],
  ['Node', 'node', (row) => row.node ?? ''],
  [
    'Client',
    'client',
    (row) => (row.clientInfo === undefined ? '' : `${row.clientInfo.name} ${row.clientInfo.version}`),
  ],
  ['Principal', 'principal', (row) => row.principal ?? ''],
  ['Age', 'age', (row) => duration(row.ageMs)],
  ['Idle', 'idle', (row) => duration(row.idleMs)],
  ['Requests', 'requests', (row) => String(row.requests)],
  ['Streams', 'streams', (row) => String(row.streams.standalone + row.streams.request)],
];
const NUMBERS = new Set(['Age', 'Idle', 'Requests', 'Streams']);

const get = (id) => document.getElementById(id);
const view = { state: '', search: '', order: 'age', descending: false, offset: 0, selected: undefined, paused: false };
const rows = new Map();
let page;
let detail;
let timer;
let request = 0;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Changes text only where it differs, so that screen readers and selections are left alone. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const hours = Math.floor(seconds / 3600);
  return hours < 48
    ? `${hours} h ${Math.floor((seconds % 3600) / 60)} min`
    : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const number = (value) => value.toLocaleString('en');

async function ask(path, init) {
  const response = await fetch(path, { ...init, credentials: 'same-origin' });
  const text = await response.text();
  if (!response.ok)
    throw Object.assign(new Error(text.trim() || `Status ${response.status}`), { status: response.status });
  return JSON.parse(text);
}

const post = (path, body) =>
  ask(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

function tell(text) {
  get('status').textContent = text;
}

async function refresh() {
  clearTimeout(timer);
  const own = (request += 1);
  const params = new URLSearchParams({
    order: view.order,
    direction: view.descending ? 'descending' : 'ascending',
    offset: String(view.offset),
    limit: String(LIMIT),
  });
  if (view.state !== '') params.set('state', view.state);
  // Not in the query, which access logs have: it may be a session ID.
  const headers = view.search === '' ? {} : { 'X-Search': encodeURIComponent(view.search) };
  const { selected } = view;
  try {
    const [list, one] = await Promise.all([
      ask(`api/sessions?${params}`, { headers }),
      selected === undefined ? undefined : ask(`api/session?key=${selected}`).catch(gone),
    ]);
    // A newer question was asked meanwhile.
    if (own !== request) return;
    page = list;
    if (selected !== undefined) detail = one;
    render();
    if (get('status').dataset.lost === 'true') tell('');
    get('status').dataset.lost = 'false';
  } catch (error) {
    if (own !== request) return;
    if (get('status').dataset.lost !== 'true') tell(`The server does not answer: ${error.message}`);
    get('status').dataset.lost = 'true';
  }
  schedule();
}

function gone(error) {
  if (error.status === 404) return undefined;
  throw error;
}

function schedule() {
  clearTimeout(timer);
  if (!view.paused && !document.hidden) timer = setTimeout(refresh, POLL_MS);
}

function render() {
  // The last page may have become shorter.
  if (page.rows.length === 0 && view.offset > 0) {
    view.offset = Math.max(0, Math.floor((page.found - 1) / LIMIT) * LIMIT);
    return void refresh();
  }
  renderNumbers();
  renderRows();
  renderDetail();
  get('everyone').hidden = page.readOnly;
  get('actions').hidden = page.readOnly;
}

function renderNumbers() {
  const { nodes, stats, rates } = page;
  const failed = nodes.filter(({ error }) => error !== undefined);
  const total = STATES.reduce((sum, state) => sum + stats[state], 0);
  const summary =
    nodes.length === 1 && nodes[0].node === undefined ? 'One process' : `${nodes.length - failed.length} nodes`;
  const missing = failed.map(({ node = 'cluster', error }) => `${node}: ${error}`).join('; ');
  get('table').classList.toggle('cluster', nodes.length > 1 || nodes[0].node !== undefined);
  setText(get('nodes'), missing === '' ? summary : `${summary}. Without ${missing}`);
  for (const button of get('states').children) {
    const { state } = button.dataset;
    const name = state === '' ? 'all' : state === 'initializing' ? 'opening' : state;
    setText(button, `${name} ${number(state === '' ? total : stats[state])}`);
    button.setAttribute('aria-pressed', String(view.state === state));
  }
  for (const [name] of RATES) setText(get(`rate-${name}`), number(rates[name]));
}

function renderRows() {
  const body = get('rows');
  const { activeElement } = document;
  const shown = new Set(page.rows.map(({ key }) => key));
  for (const [key, row] of rows) {
    if (shown.has(key)) continue;
    row.remove();
    rows.delete(key);
  }
  page.rows.forEach((session, i) => {
    const row = rows.get(session.key) ?? newRow(session.key);
    COLUMNS.forEach(([, , textOf], n) => {
      const cell = row.cells[n];
      const text = textOf(session);
      setText(n === 0 ? cell.firstChild : cell, text);
      if (n > 0 && cell.title !== text) cell.title = text;
    });
    row.setAttribute('aria-current', String(session.key === view.selected));
    // A row that moves loses the focus, so others are moved around it.
    if (body.children[i] !== row) body.insertBefore(row, body.children[i] ?? null);
  });
  if (activeElement !== document.activeElement && activeElement?.isConnected)
    activeElement.focus({ preventScroll: true });
  const last = view.offset + page.rows.length;
  get('none').hidden = page.found > 0;
  setText(
    get('range'),
    page.found === 0 ? '0' : `${number(view.offset + 1)} to ${number(last)} of ${number(page.found)}`,
  );
  get('previous').disabled = view.offset === 0;
  get('next').disabled = last >= page.found;
}

function newRow(key) {
  const row = element('tr');
  COLUMNS.forEach(([title], n) => {
    const cell = element('td', undefined, NUMBERS.has(title) ? { class: 'number' } : {});
    if (n === 0) {
      const button = element('button', undefined, { type: 'button' });
      button.addEventListener('click', () => select(key));
      cell.append(button);
    }
    row.append(cell);
  });
  rows.set(key, row);
  return row;
}

function renderDetail() {
  get('detail').hidden = view.selected === undefined;
  if (view.selected === undefined) return;
  const session = detail?.session;
  if (session !== undefined) {
    setText(get('detail-title'), `Session ${session.shortId}`);
    const facts = [
      ...COLUMNS.slice(1).map(([title, , textOf]) => [title, textOf(session)]),
      ['Opened', new Date(session.openedAt).toISOString()],
      ['Protocol version', session.protocolVersion ?? ''],
      ['Open streams', `${session.streams.standalone} standalone, ${session.streams.request} of requests`],
    ].filter(([title, text]) => title !== 'Streams' && text !== '');
    const list = get('facts');
    if (list.children.length !== facts.length * 2) {
      list.replaceChildren(...facts.flatMap(() => [element('dt'), element('dd')]));
    }
    facts.forEach(([title, text], i) => {
      setText(list.children[2 * i], title);
      setText(list.children[2 * i + 1], text);
    });
  } else if (!get('detail-title').textContent.endsWith('has ended')) {
    get('detail-title').textContent += ' has ended';
  }
  get('close').disabled = get('own-changed').disabled = session === undefined;
  get('close-principal').disabled = session?.principal === undefined;
  renderTimeline(detail?.timeline ?? []);
}

/**
 * Adds new entries on top, so that the old ones stay as they are. Numbers begin anew when the node restarts, when the page has
 * paused, or when another node has the session. So an entry is known by its number and its time.
 */
function renderTimeline(entries) {
  const list = get('timeline');
  const known = new Set(Array.from(list.children, ({ dataset }) => dataset.entry));
  for (const { number: n, at, event, facts } of entries) {
    const entry = `${n} ${at}`;
    if (known.has(entry)) continue;
    const item = element('li', undefined, { 'data-entry': entry });
    const iso = new Date(at).toISOString();
    item.append(element('time', iso.slice(11, 23), { datetime: iso }));
    item.append(element('span', described(event, facts)));
    list.prepend(item);
  }
  while (list.children.length > 200) list.lastElementChild.remove();
  get('quiet').hidden = list.children.length > 0;
}

/** A request begins with its method and tool, and all else with its event. */
function described(event, { method, tool, outcome, error, ms, ...others }) {
  const parts =
    event === 'settled'
      ? [
          tool === undefined ? method : `${method} ${tool}`,
          error === undefined ? outcome : `${outcome} ${error}`,
          `${ms} ms`,
        ]
      : [event];
  return [...parts, ...Object.entries(others).map(([name, fact]) => `${name}: ${fact}`)].join(' · ');
}

function select(key) {
  view.selected = key;
  detail = { session: page.rows.find((row) => row.key === key), timeline: [] };
  get('timeline').replaceChildren();
  render();
  get('detail-title').focus();
  void refresh();
}

function deselect() {
  const row = rows.get(view.selected);
  view.selected = detail = undefined;
  render();
  (row?.querySelector('button') ?? get('search')).focus();
}

function confirm(question) {
  const dialog = get('confirm');
  get('question').textContent = question;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

async function act(run, done) {
  try {
    tell(done(await run()));
  } catch (error) {
    tell(`That failed: ${error.message}`);
  }
  void refresh();
}

const ended = ({ closed }) => (closed === 1 ? 'One session was ended.' : `${closed} sessions were ended.`);
const told = ({ delivered, stored, dropped }) =>
  `Delivered to ${delivered}, stored for ${stored}, dropped for ${dropped}.`;

async function closeSession() {
  const { key, shortId } = detail.session;
  if (await confirm(`End the session ${shortId}? Its client gets 404 and has to begin again.`)) {
    await act(() => post('api/close', { key }), ended);
  }
}

async function closePrincipal() {
  const { principal } = detail.session;
  if (await confirm(`End all sessions of ${principal}?`)) {
    await act(() => post('api/close-principal', { principal }), ended);
  }
}

function begin() {
  for (const state of ['', ...STATES]) {
    const button = element('button', undefined, { type: 'button', 'data-state': state, 'aria-pressed': 'false' });
    button.addEventListener('click', () => look({ state, offset: 0 }));
    get('states').append(button);
  }
  for (const [name, title] of RATES) {
    const pair = element('div');
    pair.append(element('dt', title), element('dd', '0', { id: `rate-${name}` }));
    get('rates').append(pair);
  }
  COLUMNS.forEach(([title, order], n) => {
    const head = element('th', undefined, { scope: 'col', ...(NUMBERS.has(title) && { class: 'number' }) });
    if (n === 0) head.textContent = title;
    else {
      const button = element('button', title, { type: 'button' });
      button.addEventListener('click', () =>
        look({ order, descending: view.order === order ? !view.descending : NUMBERS.has(title), offset: 0 }),
      );
      head.append(button);
      head.dataset.order = order;
    }
    get('columns').append(head);
  });
  markOrder();

  let typing;
  get('search').addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(() => look({ search: get('search').value.trim(), offset: 0 }), 200);
  });
  get('tools').addEventListener('submit', (event) => event.preventDefault());
  get('previous').addEventListener('click', () => look({ offset: Math.max(0, view.offset - LIMIT) }));
  get('next').addEventListener('click', () => look({ offset: view.offset + LIMIT }));
  get('back').addEventListener('click', deselect);
  get('close').addEventListener('click', () => void closeSession());
  get('close-principal').addEventListener('click', () => void closePrincipal());
  get('changed').addEventListener('click', () =>
    act(() => post('api/list-changed', { list: get('list').value }), told),
  );
  get('own-changed').addEventListener('click', () => {
    const { key } = detail.session;
    void act(() => post('api/list-changed', { list: get('own-list').value, key }), told);
  });
  get('pause').addEventListener('click', () => {
    view.paused = !view.paused;
    get('pause').setAttribute('aria-pressed', String(view.paused));
    if (!view.paused) void refresh();
    else clearTimeout(timer);
  });
  document.addEventListener('keydown', ({ key }) => {
    if (key === 'Escape' && view.selected !== undefined && !get('confirm').open) deselect();
  });
  document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : void refresh()));
  void refresh();
}

function look(change) {
  Object.assign(view, change);
  markOrder();
  void refresh();
}

function markOrder() {
  for (const head of get('columns').children) {
    if (head.dataset.order === view.order) head.setAttribute('aria-sort', view.descending ? 'descending' : 'ascending');
    else head.removeAttribute('aria-sort');
  }
}

begin();
