// Checks that imports run one way (.dependency-cruiser.mjs), and the limits of files, classes and exported names.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const MAX_LINES = 350;
const MIN_LINES = 30;
const MAX_MEMBERS = 12;
const MAX_EXPORTS = 83;

/** Files with code that may be shorter, and why. A file of types or of exports alone may be as short as it likes. */
const SHORT_FILES = new Map([
  ['src/admin/assets.ts', 'the build replaces it'],
  ['src/cluster/inspected-nodes.ts', 'the port of one reader of other nodes, which no other part of a cluster uses'],
  ['src/cluster/forwarding/owner-cache.ts', 'a bounded table that has nothing in common with the one beside it'],
  ['src/cluster/membership/unreachable.ts', 'the errors of two layers that may not import each other'],
  ['src/cluster/notify/notified-nodes.ts', 'what one of two users adds to the queues of nodes'],
  ['src/doctor/addresses.ts', 'one rule: where DNS rebinding leads'],
  ['src/endpoint/dispatch.ts', 'the one place where an endpoint is picked'],
  ['src/http/per-request/mirrored-headers.ts', 'one rule of the specification'],
  [
    'src/protocol/encoded-header.ts',
    'one rule of the specification, which two kinds of headers and the test client follow',
  ],
  ['src/inspection/order.ts', 'one rule, which each node follows and the node that puts the lists together'],
  ['src/runtime/transitions.ts', 'what the phases of a router and the states of a session share'],
  ['src/runtime/user-code.ts', 'how user code is called, for every layer'],
  ['src/sessions/access.ts', 'the one rule that says which callers reach a session'],
  ['src/sessions/limits/slot.ts', 'sessions have slots, and the caps, which make them, know sessions'],
  ['src/sessions/records/record-json.ts', 'two parts of a record that may not import each other write JSON so'],
]);

/** Classes with more public members, how many each may have, and why. No class joins them, and none of them grows. */
const LARGE_CLASSES = new Map([
  ['Session', [50, 'a row of state that its registry, its records and its transport each read in part']],
  ['SessionEpoch', [19, 'the part of Session that begins anew with each server']],
  ['Registry', [27, 'what sessions, the reaper and the persistence each call back']],
  ['HttpTransport', [24, "the nine members of the SDK's Transport, and what replies and streams see of it"]],
  ['ClusterNode', [17, 'three ports (ForwardingPort, OtherNodes of both eras) and what its router reads']],
  ['SessionPersistence', [14, 'each step in the life of a record']],
  ['Reply', [15, 'JSON, events and back-pressure of one reply']],
  ['Replay', [14, 'an event sink, and the events that are published meanwhile']],
]);

/** The entries with the most names. */
const ENTRIES = ['src/index.ts', 'src/node.ts'];

const sources = readdirSync('src', { recursive: true })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join('src', name));

const lineCount = (file) => readFileSync(file, 'utf8').trimEnd().split('\n').length;

/** The names that a module exports, `export *` resolved. */
function exportedNames(file) {
  const program = ts.createProgram([file], { module: ts.ModuleKind.NodeNext });
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(file));
  return checker.getExportsOfModule(module).map((symbol) => symbol.name);
}

function descendantsOf(node) {
  const found = [];
  const visit = (child) => {
    found.push(child);
    ts.forEachChild(child, visit);
  };
  ts.forEachChild(node, visit);
  return found;
}

const isPublic = ({ modifiers = [] }) =>
  !modifiers.some(({ kind }) => [ts.SyntaxKind.PrivateKeyword, ts.SyntaxKind.ProtectedKeyword].includes(kind));

/** The names of a class that code outside it can use. A parameter of the constructor with a modifier is a property. */
function publicMembers(node) {
  const properties = node.members.filter(ts.isConstructorDeclaration).flatMap(({ parameters }) => parameters);
  const members = [
    ...node.members,
    ...properties.filter((parameter) => ts.isParameterPropertyDeclaration(parameter, parameter.parent)),
  ];
  const named = members.filter((member) => member.name !== undefined && !ts.isPrivateIdentifier(member.name));
  // A getter and a setter are one.
  return new Set(named.filter(isPublic).map(({ name }) => name.getText()));
}

function problemsOf(file) {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022, true);
  const nodes = descendantsOf(source);
  const lines = lineCount(file);
  const found = [];
  if (lines > MAX_LINES) found.push(`${file} has ${lines} lines; a file over ${MAX_LINES} is two files`);
  const hasCode = nodes.some((node) => ts.isFunctionLike(node) && node.body !== undefined);
  if (lines < MIN_LINES && hasCode && !SHORT_FILES.has(file)) {
    found.push(`${file} has ${lines} lines; code of less than ${MIN_LINES} belongs to a concept beside it`);
  }
  for (const node of nodes.filter(ts.isClassDeclaration)) {
    const { size } = publicMembers(node);
    const [most] = LARGE_CLASSES.get(node.name.text) ?? [MAX_MEMBERS];
    if (size > most) found.push(`${file}: ${node.name.text} has ${size} public members, more than ${most}`);
  }
  return found;
}

const problems = sources.flatMap(problemsOf);

for (const entry of ENTRIES) {
  const names = exportedNames(entry);
  if (names.length > MAX_EXPORTS)
    problems.push(`${entry} exports ${names.length} names, more than ${MAX_EXPORTS}: ${names.join(', ')}`);
}

try {
  execFileSync('npx', ['--no-install', 'depcruise', 'src', '--config', '.dependency-cruiser.mjs'], {
    stdio: 'inherit',
  });
} catch {
  problems.push('an import breaks the order of the levels (above)');
}

for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
