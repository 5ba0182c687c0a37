import { z } from 'zod';
import type { HostRole } from '../domain/cold.js';
import { RecoveryError } from '../domain/errors.js';
import { checkPathSegment } from '../domain/names.js';
import { parseWith } from '../domain/request.js';
import { parseYaml, readConfigFile } from './load.js';

/** agent.yaml: what the agent of one host may touch and run. No request adds to it. */
const path = z.string().min(2).max(4_096);
const command = z.array(z.string().max(4_096)).min(1).max(100);

export const agentSchema = z.strictObject({
  cluster: z.string().min(1).max(206).describe('name of the cluster in recovery.yaml'),
  node: z.string().min(1).max(206).optional().describe('ClickHouse node that runs on this host'),
  keeper: z.string().min(1).max(206).optional().describe('ZooKeeper server that runs on this host'),
  trees: z.record(z.string(), path).describe('folders that make up its state, by a name of yours'),
  copies: path.describe('folder for the copies of this host'),
  addresses: z
    .array(z.string().regex(/^[^\s:]+:\d{1,5}$/))
    .min(1)
    .max(20)
    .describe('host:port of the service; of ZooKeeper, the first is the one for clients'),
  commands: z.strictObject({
    stop: command.describe('program and arguments, run without a shell; shown in plans, so no secrets'),
    start: command,
    probe: command.describe('exit code 0: the service runs'),
    stopped: z.array(z.int().min(1).max(255)).min(1).optional().describe('exit codes of probe: it does not run'),
    timeoutSeconds: z.int().min(1).max(86_400).optional().describe('for the service to stop or start; default: 300'),
  }),
  links: z.boolean().optional().describe('part files may share their blocks with the live ones; default: true'),
});

export interface AgentConfig {
  cluster: string;
  name: string;
  role: HostRole;
  /** In a fixed order. `root`: absolute, without a slash at its end. */
  trees: { name: string; root: string }[];
  copies: string;
  addresses: { host: string; port: number }[];
  stop: string[];
  start: string[];
  probe: string[];
  stoppedCodes: number[];
  timeoutSeconds: number;
  links: boolean;
}

/** 3: `systemctl is-active`, and init scripts by LSB. */
const STOPPED_CODES = [3];
const TIMEOUT_SECONDS = 300;

/** Throws RecoveryError `CONFIG_NOT_FOUND` or `CONFIG_INVALID`. */
export async function loadAgentConfig(file: string): Promise<AgentConfig> {
  return parseAgentConfig(parseYaml(await readConfigFile(file)));
}

export function parseAgentConfig(value: unknown): AgentConfig {
  const raw = parseWith(agentSchema, value, 'CONFIG_INVALID');
  if ((raw.node === undefined) === (raw.keeper === undefined)) throw invalid('node', 'give either node or keeper');
  const name = segment(raw.node ?? raw.keeper ?? '', raw.node === undefined ? 'keeper' : 'node');
  segment(raw.cluster, 'cluster');
  const trees = Object.entries(raw.trees)
    .map(([tree, root]) => ({ name: segment(tree, 'trees.<name>'), root: absolute(root, `trees.${tree}`) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  if (trees.length === 0) throw invalid('trees', 'there is none');
  const copies = absolute(raw.copies, 'copies');
  const folders = [
    ...trees.map(({ name: tree, root }) => [`trees.${tree}`, root] as const),
    ['copies', copies] as const,
  ];
  for (const [field, folder] of folders)
    for (const [other, outer] of folders)
      if (field !== other && `${folder}/`.startsWith(`${outer}/`)) throw invalid(field, `is in ${other}`);
  const { stop, start, probe, stopped = STOPPED_CODES, timeoutSeconds = TIMEOUT_SECONDS } = raw.commands;
  return {
    ...{ cluster: raw.cluster, name, role: raw.node === undefined ? 'keeper' : 'clickhouse', trees, copies },
    addresses: raw.addresses.map((address) => {
      const colon = address.lastIndexOf(':');
      return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
    }),
    ...{ stop, start, probe, stoppedCodes: stopped, timeoutSeconds, links: raw.links ?? true },
  };
}

function absolute(folder: string, field: string): string {
  const clean = folder.replace(/\/+$/, '');
  if (!clean.startsWith('/') || clean.split('/').includes('..') || /\p{Cc}/u.test(clean))
    throw invalid(field, 'is not an absolute path');
  return clean;
}

function segment(name: string, field: string): string {
  try {
    return checkPathSegment(name, field);
  } catch (cause) {
    throw cause instanceof RecoveryError ? new RecoveryError('CONFIG_INVALID', cause.message, cause.details) : cause;
  }
}

function invalid(field: string, complaint: string): RecoveryError {
  return new RecoveryError('CONFIG_INVALID', `${field}: ${complaint}`, { field });
}
