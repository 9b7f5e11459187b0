// Installs what the site is built with.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLocked } from '../scripts/install-locked.mjs';

installLocked(dirname(fileURLToPath(import.meta.url)));
