import { dirname, join, resolve } from 'node:path';
import ts from 'typescript';

/** A document with code blocks. A block may use the names of earlier blocks. */
export interface Page {
  /** Relative to the repository. */
  readonly name: string;
  readonly blocks: readonly Block[];
}

/** A fenced block of code, or an HTML comment `<!-- given …` that declares the names of the reader's own app. */
export interface Block {
  readonly language: string;
  readonly code: string;
  /** The line of the page on which the code begins, from 1. */
  readonly line: number;
}

/** The language of a comment that declares names for the blocks after it. */
export const GIVEN = 'given';

/** The blocks of a page in Markdown. */
export function blocksOf(text: string): Block[] {
  const fences = /^[ \t]*(?:```(\S*).*\n([\s\S]*?)^[ \t]*```|<!-- given\n([\s\S]*?)-->)/gm;
  return [...text.matchAll(fences)].map((match) => {
    const [, language = GIVEN, code = match[3] ?? ''] = match;
    return { language, code, line: text.slice(0, match.index).split('\n').length + 1 };
  });
}

/** Each example in the comments of a source file, as a page of its own after the given names. */
export function examplesOf(name: string, text: string, given: string): Page[] {
  const preamble: Block = { language: GIVEN, code: given, line: 2 };
  return blocksOf(text.replace(/^[ \t]*\*(?: |$)/gm, ''))
    .filter(({ language }) => language !== GIVEN)
    .map((block) => ({ name, blocks: [preamble, block] }));
}

function boundNames(name: ts.BindingName): string[] {
  if (ts.isIdentifier(name)) return [name.text];
  return name.elements.flatMap((element) => (ts.isBindingElement(element) ? boundNames(element.name) : []));
}

function importedNames({ importClause }: ts.ImportDeclaration): string[] {
  const { name, namedBindings } = importClause ?? {};
  const named = namedBindings && ts.isNamedImports(namedBindings) ? namedBindings.elements : [namedBindings];
  return [name, ...named.map((binding) => binding?.name)].flatMap((bound) => bound?.text ?? []);
}

/** The names that a module declares or imports. */
export function topLevelNames(code: string): string[] {
  const { statements } = ts.createSourceFile('block.ts', code, ts.ScriptTarget.ES2022);
  return statements.flatMap((statement) => {
    if (ts.isImportDeclaration(statement)) return importedNames(statement);
    if (ts.isVariableStatement(statement))
      return statement.declarationList.declarations.flatMap(({ name }) => boundNames(name));
    const { name } = statement as ts.DeclarationStatement;
    return name && ts.isIdentifier(name) ? [name.text] : [];
  });
}

/** Each block as a module, which imports the names of the blocks before it; the lines are those of the page. */
function modulesOf(page: Page, index: number, add: (file: string, text: string) => void): void {
  const origins = new Map<string, string>();
  for (const { language, code, line } of page.blocks) {
    if (language !== 'ts' && language !== GIVEN) continue;
    const file = `${page.name}.${index}-${line}`;
    const own = topLevelNames(code);
    const imports = [...origins]
      .filter(([name]) => !own.includes(name))
      .map(([name, origin]) => `import { ${name} } from './${origin}.js';`);
    const body = code.replace(/^(\s*)export (?=async|class|const|function|let|type|interface)/gm, '$1');
    add(`${file}.ts`, `${imports.join(' ')}${'\n'.repeat(line - 1)}${body}\nexport { ${own.join(', ')} };`);
    for (const name of own) origins.set(name, file.slice(file.lastIndexOf('/') + 1));
  }
}

/**
 * Type-checks the TypeScript blocks of pages against the package's own sources.
 *
 * @returns The errors of the compiler, as `page:line: message`.
 */
export function typeCheck(root: string, pages: readonly Page[]): string[] {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (file) => ts.sys.readFile(file)) as {
    config: object;
  };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  // A block declares what the next one uses, and re-exports the types that it imports.
  Object.assign(options, { noEmit: true, noUnusedLocals: false, noUnusedParameters: false, isolatedModules: false });
  const modules = new Map<string, string>();
  for (const [index, page] of pages.entries())
    modulesOf(page, index, (file, text) => modules.set(resolve(root, file), text));

  const host = ts.createCompilerHost(options);
  host.fileExists = (file) => modules.has(resolve(file)) || ts.sys.fileExists(file);
  host.readFile = (file) => modules.get(resolve(file)) ?? ts.sys.readFile(file);
  const program = ts.createProgram([...modules.keys()], options, host);
  return [...modules.keys()].flatMap((file) => {
    const source = program.getSourceFile(file)!;
    const faults = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    return faults.map(({ start = 0, messageText }) => {
      const line = source.getLineAndCharacterOfPosition(start).line + 1;
      const page = join(dirname(file), file.slice(dirname(file).length + 1).replace(/\.\d+-\d+\.ts$/, ''));
      return `${page.slice(root.length + 1)}:${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
  });
}
