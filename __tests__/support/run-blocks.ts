import ts from 'typescript';
import { GIVEN, type Block, type Page } from './code-blocks.js';

/** What the blocks of a page may use: modules by name, and values for the names of the reader's own app. */
export interface World {
  load(module: string): unknown;
  readonly given: Readonly<Record<string, unknown>>;
}

/** A module as an object of its exports. `default` is the module itself where CommonJS has none. */
function exportsOf(loaded: unknown): object {
  const module = loaded as { default?: unknown };
  return { ...(loaded as object), default: module.default ?? loaded };
}

/** The imports of a block as declarations that load them. Types are left out. */
function importLines({ importClause, moduleSpecifier }: ts.ImportDeclaration): string {
  const { text } = moduleSpecifier as ts.StringLiteral;
  if (importClause === undefined || importClause.phaseModifier === ts.SyntaxKind.TypeKeyword) return '';
  const { name, namedBindings } = importClause;
  const lines: string[] = [];
  if (name !== undefined) lines.push(`const ${name.text} = $load('${text}').default;`);
  if (namedBindings !== undefined && ts.isNamespaceImport(namedBindings)) {
    lines.push(`const ${namedBindings.name.text} = $load('${text}');`);
  }
  if (namedBindings !== undefined && ts.isNamedImports(namedBindings)) {
    const names = namedBindings.elements
      .filter(({ isTypeOnly }) => !isTypeOnly)
      .map((element) => `${element.propertyName?.text ?? element.name.text}: ${element.name.text}`);
    lines.push(`const { ${names.join(', ')} } = $load('${text}');`);
  }
  return lines.join(' ');
}

/** TypeScript without imports as JavaScript that can stand in a function. */
export function toJavaScript(code: string): string {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  return outputText.replace(/^export \{\};$/m, '');
}

/** A block as JavaScript for the body of an async function. */
function bodyOf({ code }: Block): string {
  const source = ts.createSourceFile('block.ts', code, ts.ScriptTarget.ES2022, true);
  const imports = source.statements.filter(ts.isImportDeclaration);
  const rest = source.statements
    .filter((node) => !ts.isImportDeclaration(node))
    .map((node) => node.getFullText())
    .join('')
    .replace(/^(\s*)export (?=async|class|const|function|let)/gm, '$1')
    .replaceAll('import.meta.url', '$url');
  const loads = imports.map(importLines).join('\n');
  return `${loads}\n${toJavaScript(rest)}`;
}

const AsyncFunction = (async () => undefined).constructor as new (
  ...args: string[]
) => (...values: unknown[]) => Promise<void>;

/**
 * Runs the TypeScript blocks of a page in their order. Each is nested into the one before, so that it sees its names, and may
 * declare them anew.
 *
 * @throws The error of a block.
 */
export async function runBlocks(page: Page, world: World): Promise<void> {
  const blocks = page.blocks.filter(({ language }) => language === 'ts' || language === GIVEN).map(bodyOf);
  const code = blocks.map((block) => `{\n${block}\n`).join('') + '}'.repeat(blocks.length);
  const names = Object.keys(world.given);
  const run = new AsyncFunction('$load', '$url', ...names, code);
  const load = (name: string) => exportsOf(world.load(name));
  await run(load, `file://${process.cwd()}/block.mjs`, ...names.map((name) => world.given[name]));
}
