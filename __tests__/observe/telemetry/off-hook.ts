import Module from 'node:module';

// Makes OpenTelemetry impossible to load (`node --require`), but for prom-client, which has it as a dependency of its own.

type Resolve = (name: string, parent: { readonly filename?: string | null } | undefined, ...rest: unknown[]) => string;
const internals = Module as unknown as { _resolveFilename: Resolve };
const resolve = internals._resolveFilename;
internals._resolveFilename = (name, parent, ...rest) => {
  if (name.startsWith('@opentelemetry/') && parent?.filename?.includes('prom-client') !== true) {
    throw new Error(`${name} is not installed`);
  }
  return resolve.call(Module, name, parent, ...rest);
};
