// The ESLint rule behind 'imports go one way' (docs/design.md, 'The house').
//
// A rule of ours rather than no-restricted-imports: that one matches the text of an import ('../x.js'), whose
// meaning depends on how deep the importing file lies; this one resolves it to a part of src.

import { dirname, relative, resolve, sep } from 'node:path';

/**
 * What each part of src may import, beside itself. A part is a folder of src, a file directly in it, or a folder in a
 * folder that has a line of its own.
 *
 * - `parts`: other parts of src; `typesOf`: parts of which only types may be imported.
 * - `packages`: 'any' (Node's own modules too), or the names of packages; a trailing '*' matches the rest.
 * - `free`: no limits.
 */
export const EDGES = {
  // zod has no I/O: request.ts is the one schema that config, CLI, workflow and API share.
  domain: { parts: [], packages: ['zod'] },
  workflows: {
    parts: ['domain'],
    typesOf: ['activities'],
    packages: ['@temporalio/workflow', '@temporalio/common'],
  },
  ports: { parts: ['domain'], packages: [] },
  activities: { parts: ['domain', 'ports'], packages: ['@temporalio/activity', '@temporalio/common', 'zod'] },
  adapters: { parts: ['domain', 'ports'], packages: 'any' },
  config: { parts: ['domain'], packages: 'any' },
  service: {
    parts: ['domain', 'config'],
    typesOf: ['workflows', 'observability'],
    packages: ['@temporalio/client', '@temporalio/common', '@temporalio/envconfig', 'node:*'],
  },
  // What a person asks of the nodes without Temporal: doctor, unfence. `service` says in what shape it answers.
  direct: { parts: ['domain', 'ports', 'activities'], typesOf: ['service'], packages: [] },
  // `worker` is the composition root: `ch-recover worker` runs it, nothing here wires adapters.
  interfaces: { parts: ['service', 'domain', 'config', 'worker', 'interfaces/http'], packages: 'any' },
  // `ch-recover api` starts it; it knows nothing of the command line.
  'interfaces/http': {
    parts: ['service', 'domain', 'config', 'observability'],
    packages: ['prom-client', 'hono', '@hono/zod-openapi', '@hono/node-server', 'zod', 'node:*'],
  },
  // Metrics, traces and the fields of log lines.
  observability: { parts: ['domain', 'ports'], packages: 'any' },
  embedded: { free: true },
  // Composition roots: the only places that wire adapters to what uses them.
  compose: { free: true },
  cli: { free: true },
  worker: { free: true },
  plugin: { free: true },
  // The package's entries: they re-export, and wire nothing.
  index: { free: true },
  client: { free: true },
  bundle: { free: true },
};

/** The part of src that a file belongs to: 'domain' for src/domain/names.ts, 'ports' for src/ports.ts. */
function partOf(srcDir, file) {
  const path = relative(srcDir, file);
  if (path.startsWith('..')) return undefined;
  const [first, second] = path.split(sep);
  const nested = `${first}/${second}`;
  return Object.hasOwn(EDGES, nested) ? nested : first.replace(/\.[cm]?[jt]s$/, '');
}

function matches(name, patterns) {
  if (patterns === 'any') return true;
  return patterns.some((pattern) =>
    pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern || name.startsWith(`${pattern}/`),
  );
}

/** The complaint about one import, or undefined where it is allowed. */
function complaint({ from, srcDir, file, specifier, typeOnly }) {
  const edges = EDGES[from];
  if (edges === undefined) {
    return `src/${from} is not in the table of scripts/import-edges.mjs: say there what it may import`;
  }
  if (edges.free) return undefined;
  if (!specifier.startsWith('.')) {
    return matches(specifier, edges.packages) ? undefined : `${from} may not import the package '${specifier}'`;
  }
  const to = partOf(srcDir, resolve(dirname(file), specifier));
  if (to === undefined) return `${from} may not import from outside src ('${specifier}')`;
  if (to === from || edges.parts.includes(to)) return undefined;
  if (edges.typesOf?.includes(to)) {
    return typeOnly ? undefined : `${from} may import only types from ${to}: write 'import type'`;
  }
  return `${from} may not import from ${to}`;
}

function isTypeOnly(node) {
  if (node.importKind === 'type' || node.exportKind === 'type') return true;
  const specifiers = node.specifiers ?? [];
  return specifiers.length > 0 && specifiers.every((s) => s.importKind === 'type' || s.exportKind === 'type');
}

export const importEdges = {
  meta: { type: 'problem', schema: [{ type: 'string' }], messages: { edge: '{{text}}' } },
  create(context) {
    const srcDir = context.options[0];
    const from = partOf(srcDir, context.filename);
    if (from === undefined) return {};
    const check = (node, source, typeOnly) => {
      if (typeof source?.value !== 'string') return;
      const text = complaint({ from, srcDir, file: context.filename, specifier: source.value, typeOnly });
      if (text !== undefined) context.report({ node: source, messageId: 'edge', data: { text } });
    };
    const checkDeclaration = (node) => check(node, node.source, isTypeOnly(node));
    return {
      ImportDeclaration: checkDeclaration,
      ExportNamedDeclaration: checkDeclaration,
      ExportAllDeclaration: checkDeclaration,
      ImportExpression: (node) => check(node, node.source, false),
      TSImportType: (node) => check(node, node.source ?? node.argument?.literal, true),
    };
  },
};
