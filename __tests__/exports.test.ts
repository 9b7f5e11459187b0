import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';

const root = resolve(__dirname, '..');
const OUT = join(root, '.exports');

/** The source of each entry of package.json. */
const ENTRIES = Object.entries(
  (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, unknown> }).exports,
).flatMap(([entry, conditions]) => {
  const { types } = (conditions as { import?: { types: string } }).import ?? {};
  return types === undefined ? [] : [{ entry, file: types.replace('./dist/esm', OUT) }];
});

/** The declaration files of the package as `npm run build` writes them, in memory. */
function declarations(): Map<string, string> {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.build.json'), (path) => ts.sys.readFile(path)) as {
    config: object;
  };
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const emitted = new Map<string, string>();
  const program = ts.createProgram(fileNames, {
    ...options,
    rootDir: join(root, 'src'),
    outDir: OUT,
    noEmit: false,
    emitDeclarationOnly: true,
  });
  program.emit(undefined, (file, text) => emitted.set(file, text));
  return emitted;
}

function programOf(files: ReadonlyMap<string, string>): ts.Program {
  const options: ts.CompilerOptions = {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    types: ['node'],
  };
  const host = ts.createCompilerHost(options);
  const readFile = host.readFile.bind(host);
  const fileExists = host.fileExists.bind(host);
  const directories = new Set([...files.keys()].map((file) => file.slice(0, file.lastIndexOf('/'))));
  const directoryExists = host.directoryExists?.bind(host);
  host.readFile = (file) => files.get(file) ?? readFile(file);
  host.fileExists = (file) => files.has(file) || fileExists(file);
  host.directoryExists = (name) => directories.has(name) || directoryExists?.(name) === true;
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

/** Every type of this package that a signature of the entry names, at any depth, with the place where it is named. */
function namedTypes(checker: ts.TypeChecker, exported: readonly ts.Symbol[]): Map<ts.Symbol, string> {
  const named = new Map<ts.Symbol, string>();
  const seen = new Set<ts.Symbol>();
  const resolved = (symbol: ts.Symbol): ts.Symbol =>
    (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol);
  const isOwn = (symbol: ts.Symbol): boolean =>
    (symbol.declarations ?? []).some((declaration) => declaration.getSourceFile().fileName.startsWith(OUT));
  const isType = ({ flags }: ts.Symbol): boolean =>
    (flags & (ts.SymbolFlags.Type & ~ts.SymbolFlags.TypeParameter)) !== 0 && (flags & ts.SymbolFlags.EnumMember) === 0;

  const visit = (symbol: ts.Symbol): void => {
    if (seen.has(symbol)) return;
    seen.add(symbol);
    for (const declaration of symbol.declarations ?? []) walk(declaration, symbol.name);
  };
  const walk = (node: ts.Node, within: string): void => {
    const name = ts.isTypeReferenceNode(node)
      ? node.typeName
      : ts.isExpressionWithTypeArguments(node)
        ? node.expression
        : ts.isImportTypeNode(node)
          ? node.qualifier
          : undefined;
    const symbol = name && checker.getSymbolAtLocation(name);
    const type = symbol && resolved(symbol);
    if (type !== undefined && isOwn(type) && isType(type)) {
      named.set(type, within);
      visit(type);
    }
    ts.forEachChild(node, (child) => walk(child, within));
  };
  exported.map(resolved).filter(isOwn).forEach(visit);
  return named;
}

test('each type that a public signature names can be imported from the same entry', () => {
  const program = programOf(declarations());
  const checker = program.getTypeChecker();
  const missing: string[] = [];
  for (const { entry, file } of ENTRIES) {
    const source = program.getSourceFile(file)!;
    const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(source)!);
    const values = new Set(
      exported.map((symbol) =>
        (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol),
      ),
    );
    const named = namedTypes(checker, exported);
    expect([entry, named.size > 0]).toEqual([entry, true]);
    for (const [type, within] of named) {
      if (!values.has(type)) missing.push(`${entry}: ${type.name}, in ${within}`);
    }
  }
  expect(missing).toEqual([]);
});
