// The site of VitePress over the pages of the repository. They stay where they are, and as GitHub shows them.
import { defineConfig } from 'vitepress';
import { siteLinks, REPOSITORY } from '../links.mjs';
import { isPage, PACKAGE, placeOf, sidebar } from '../pages.mjs';

/** The anchor of a heading, as GitHub makes it. */
const slugify = (heading) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

/** Double braces are text on the pages, as on GitHub. Vue would evaluate what is between them. */
function escapeBraces(md) {
  const { text } = md.renderer.rules;
  md.renderer.rules.text = (...token) => text(...token).replaceAll('{{', '&#123;&#123;');
}

/** The pages that explain a word come before those that list names. VitePress runs this in the browser. */
const boostDocument = (page) => (/\/(api|bench|example-app|CHANGELOG)\b/.test(page) ? 0.3 : 1);

/** The pages are outside of this package. VitePress has them import Vue, which only this package has installed. */
const pagesOutside = {
  name: 'pages-outside',
  enforce: 'pre',
  resolveId(id, importer, options) {
    return /^vue(\/|$)/.test(id) ? this.resolve(id, import.meta.filename, { ...options, skipSelf: true }) : undefined;
  },
  // Vite looks for these beside the pages, and warns. The server works without bundling them first.
  configResolved({ optimizeDeps }) {
    optimizeDeps.include = optimizeDeps.include?.filter((id) => !id.startsWith('vitepress > '));
  },
};

export default defineConfig({
  title: PACKAGE.name,
  description: PACKAGE.description,
  srcDir: '..',
  outDir: '../.cache/site',
  cacheDir: '../.cache/vitepress',
  srcExclude: ['site/api/README.md'],
  rewrites: placeOf,
  markdown: {
    anchor: { slugify },
    attrs: { disable: true },
    config: (md) => md.use(siteLinks).use(escapeBraces),
  },
  // An address on the reader's own machine is no dead link.
  ignoreDeadLinks: 'localhostLinks',
  transformPageData({ filePath }) {
    if (!isPage(filePath)) throw new Error(`${filePath} is not in site/sidebar.json`);
  },
  themeConfig: {
    sidebar: sidebar(),
    outline: [2, 3],
    search: { provider: 'local', options: { miniSearch: { searchOptions: { boostDocument } } } },
    ...(REPOSITORY && { socialLinks: [{ icon: 'github', link: REPOSITORY }] }),
  },
  vite: {
    plugins: [pagesOutside],
    // The index of the search is the largest file, and is loaded when the search is opened.
    build: { chunkSizeWarningLimit: 1_000 },
    server: { watch: { ignored: ['**/.cache/**', '**/coverage/**'] } },
  },
});
