// Holds the source to its shape: imports run one way (.dependency-cruiser.mjs), files are short, the public surface small.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const MAX_LINES = 350;
const MAX_EXPORTS = 60;
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

const problems = sources
  .filter((file) => lineCount(file) > MAX_LINES)
  .map((file) => `${file} has ${lineCount(file)} lines; a file over ${MAX_LINES} is two files`);

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
  problems.push('imports run the wrong way (above)');
}

for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
