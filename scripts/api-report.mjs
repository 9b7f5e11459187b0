// Writes the public declarations of each entry of the package into `api/`, one file for each entry. With `--check` it compares them
// with the files there, and fails when they differ: no change of the public API goes unnoticed.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';

const FOLDER = 'api';
const OUT = resolve('.api');
const UPDATE = 'node scripts/api-report.mjs';

/** The entries of package.json: the name of each, and the file of its declarations. */
const ENTRIES = Object.entries(JSON.parse(readFileSync('package.json', 'utf8')).exports).flatMap(
  ([entry, conditions]) => {
    const types = conditions.import?.types;
    return types === undefined ? [] : [{ entry, file: types.replace('./dist/esm', OUT) }];
  },
);

/** The declarations as `npm run build` writes them, in memory. */
function emitDeclarations() {
  const { config } = ts.readConfigFile('tsconfig.build.json', ts.sys.readFile);
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, process.cwd());
  const declarations = new Map();
  ts.createProgram(fileNames, {
    ...options,
    rootDir: resolve('src'),
    outDir: OUT,
    noEmit: false,
    emitDeclarationOnly: true,
  }).emit(undefined, (file, text) => declarations.set(file, text));
  return declarations;
}

function programOf(declarations) {
  const options = {
    module: ts.ModuleKind.NodeNext,
    strict: true,
    types: ['node'],
    skipLibCheck: true,
    noResolve: false,
  };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, directoryExists } = host;
  const folders = new Set([...declarations.keys()].map((file) => file.slice(0, file.lastIndexOf('/'))));
  host.readFile = (file) => declarations.get(file) ?? readFile.call(host, file);
  host.fileExists = (file) => declarations.has(file) || fileExists.call(host, file);
  host.directoryExists = (name) => folders.has(name) || directoryExists.call(host, name);
  host.getSourceFile = (file, version) => {
    const text = host.readFile(file);
    return text === undefined ? undefined : ts.createSourceFile(file, text, version, true);
  };
  return ts.createProgram(
    ENTRIES.map(({ file }) => file),
    options,
    host,
  );
}

const printer = ts.createPrinter({ removeComments: true });

/** A declaration without comments and without private members, which are no part of the API. */
function print(declaration) {
  const isPrivate = ({ name, modifiers = [] }) =>
    (name !== undefined && ts.isPrivateIdentifier(name)) ||
    modifiers.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword);
  const statement = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
  const { transformed } = ts.transform(statement, [
    () => (node) =>
      ts.isClassDeclaration(node)
        ? ts.factory.updateClassDeclaration(
            node,
            node.modifiers,
            node.name,
            node.typeParameters,
            node.heritageClauses,
            node.members.filter((member) => !isPrivate(member)),
          )
        : node,
  ]);
  return printer
    .printNode(ts.EmitHint.Unspecified, transformed[0], statement.getSourceFile())
    .replace(/^(export )?(declare )?/, '')
    .replace(/import\("[^"]*"\)\./g, '');
}

/** Each export of an entry in the order of its name, so that a moved declaration changes nothing. */
function reportOf(program, { entry, file }) {
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(file));
  const exported = checker.getExportsOfModule(module).map((symbol) => ({
    name: symbol.name,
    target: (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol),
  }));
  const parts = exported
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, target }) => {
      const own = (target.declarations ?? []).filter((declaration) =>
        declaration.getSourceFile().fileName.startsWith(OUT),
      );
      const texts = own.map(print);
      const renamed = target.name === name ? '' : ` (declared as ${target.name})`;
      return `// ${name}${renamed}\n${texts.join('\n') || '// of another package'}\n`;
    });
  const title = entry === '.' ? 'express-mcp-router' : `express-mcp-router/${entry.slice(2)}`;
  return `// The public API of ${title}, written by \`${UPDATE}\`. Do not edit it.\n\n${parts.join('\n')}`;
}

const program = programOf(emitDeclarations());
const reports = new Map(
  ENTRIES.map((entry) => [
    `${entry.entry === '.' ? 'index' : entry.entry.slice(2)}.d.ts.txt`,
    reportOf(program, entry),
  ]),
);

if (process.argv.includes('--check')) {
  const known = readdirSync(FOLDER);
  const read = (name) => (known.includes(name) ? readFileSync(join(FOLDER, name), 'utf8') : undefined);
  const changed = [...new Set([...known, ...reports.keys()])].filter((name) => read(name) !== reports.get(name));
  for (const name of changed) console.error(`The public API changed: ${FOLDER}/${name}`);
  if (changed.length > 0) {
    console.error(`Run \`${UPDATE}\`, look at the difference, and note it in CHANGELOG.md.`);
    process.exitCode = 1;
  } else console.log(`${reports.size} passed, 0 failed`);
} else {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER);
  for (const [name, text] of reports) writeFileSync(join(FOLDER, name), text);
}
