// Writes the API reference from the TSDoc of the sources into `site/api`: one page for each entry of the package.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Application, Comment, Converter, ReflectionKind } from 'typedoc';
import ts from 'typescript';
import { PACKAGE, ROOT } from './pages.mjs';

const OUT = join(ROOT, 'site/api');

/** The file of each entry's declarations in package.json, as its source. */
const ENTRY_POINTS = Object.values(PACKAGE.exports)
  .filter((conditions) => conditions.import !== undefined)
  .map((conditions) => conditions.import.types.replace('./dist/esm', 'src').replace('.d.ts', '.ts'));

const OPTIONS = {
  entryPoints: ENTRY_POINTS.map((file) => join(ROOT, file)),
  tsconfig: join(ROOT, 'tsconfig.build.json'),
  plugin: ['typedoc-plugin-markdown'],
  out: OUT,
  router: 'module',
  readme: 'none',
  logLevel: 'Warn',
  excludeExternals: true,
  excludeInternal: true,
  excludePrivate: true,
  disableSources: true,
  hidePageHeader: true,
  hideBreadcrumbs: true,
  groupOrder: ['Functions', 'Classes', 'Interfaces', 'Type Aliases'],
  parametersFormat: 'table',
  sanitizeComments: true,
  // Headings of the same name get the same anchors on a page. These prefixed ones are unique, and links use them.
  useHTMLAnchors: true,
  anchorPrefix: 'api-',
  pageTitleTemplates: { module: ({ name }) => titleOf(name) },
};

/** `stores/redis` is the source of `express-mcp-router/redis`. */
function titleOf(source) {
  const entry = source.replace(/^stores\//, '');
  return entry === 'index' ? PACKAGE.name : `${PACKAGE.name}/${entry}`;
}

/** Replaces a heading for each name that another page describes by one line with links to all of them. */
function joinReferences(project) {
  for (const module of project.getChildrenByKind(ReflectionKind.Module)) {
    const references = module.getChildrenByKind(ReflectionKind.Reference);
    if (references.length === 0) continue;
    references.sort((a, b) => a.name.localeCompare(b.name));
    const links = references.flatMap((reference, index) => [
      { kind: 'text', text: index === 0 ? 'This entry also exports ' : ', ' },
      { kind: 'inline-tag', tag: '@link', text: reference.name, target: reference.getTargetReflectionDeep() },
    ]);
    module.comment ??= new Comment();
    module.comment.summary.push({ kind: 'text', text: '\n\n' }, ...links, { kind: 'text', text: '.' });
    for (const reference of references) project.removeReflection(reference);
  }
}

/** Shows the type `(typeof VALUES)[number]` as a union of the values. */
function showValues(context, reflection) {
  if (!reflection.kindOf(ReflectionKind.TypeAlias)) return;
  const [{ type }] = context.getSymbolFromReflection(reflection).declarations;
  if (ts.isIndexedAccessTypeNode(type)) reflection.comment?.modifierTags.add('@useDeclaredType');
}

/** An inherited member is removed where the site describes its parent, and is otherwise shown without its origin. */
function dropInherited(project) {
  for (const reflection of Object.values(project.reflections)) {
    const isElsewhere = reflection.isDeclaration() && reflection.inheritedFrom?.reflection !== undefined;
    if (isElsewhere) project.removeReflection(reflection);
    delete reflection.inheritedFrom;
    delete reflection.overwrites;
  }
}

function shorten(project) {
  joinReferences(project);
  dropInherited(project);
}

/** @throws Error when the sources do not compile, or a link in a comment has no target. */
export async function writeApiReference() {
  rmSync(OUT, { recursive: true, force: true });
  const application = await Application.bootstrapWithPlugins(OPTIONS);
  application.converter.on(Converter.EVENT_CREATE_DECLARATION, showValues);
  // After the plugin that finds what is inherited, and before the one that groups the members (priority -100).
  application.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => shorten(project), -50);
  const project = await application.convert();
  if (project === undefined) throw new Error('the API reference cannot be written');
  application.validate(project);
  if (application.logger.hasWarnings()) throw new Error('mend the TSDoc first: the warnings say where');
  await application.generateOutputs(project);
}
