/** The entry of `express-mcp-router/admin`: a page on which operators watch and end sessions. */
export { adminPage, type AdminHandler, type AdminPageOptions } from './admin-page.js';
export type { AdministeredRouter } from './api.js';
