import { z } from 'zod';
import { RecoveryError } from '../domain/errors.js';
import { checkName } from '../domain/names.js';
import { parseRequest } from '../domain/request.js';

/** The part `api` of recovery.yaml: who may ask the HTTP API for what. */

export const ROLES = ['viewer', 'drill-runner', 'operator', 'approver'] as const;
export type Role = (typeof ROLES)[number];

/** In `clusters` of a token: all of them, also those that are added later. No cluster can have this name. */
export const EVERY_CLUSTER = '*';
/** Loopback: whoever wants more says so, and thinks of TLS then. */
const DEFAULT_LISTEN = '127.0.0.1:8080';

const text = (max: number) => z.string().min(1).max(max);

const tokenSchema = z.strictObject({
  name: text(100).describe('who it is: it stands in reports as the approver'),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'is not a sha256 in lower-case hexadecimal')
    .describe('of the token, which itself stands nowhere'),
  roles: z.array(z.enum(ROLES)).min(1).describe('every role may read'),
  clusters: z.array(text(206)).min(1).describe('names of clusters, or "*"'),
});

const alertSchema = z.strictObject({
  match: z.record(z.string(), text(1_000)).describe('labels that the alert has to have, with their values'),
  backup: text(420).describe('as in a request').optional(),
  tables: z.array(text(420)).min(1).max(1_000).describe('as in a request').optional(),
});

export const apiSchema = z.strictObject({
  listen: text(300).describe(`HOST:PORT, default ${DEFAULT_LISTEN}`).optional(),
  tokens: z.array(tokenSchema).max(1_000).optional(),
  alertmanager: z
    .strictObject({
      clusterLabel: text(200).describe('label that names the cluster, default "cluster"').optional(),
      clusters: z.record(z.string(), text(206)).describe("the label's values where they are not our names").optional(),
      alerts: z.array(alertSchema).min(1).max(200).describe('the first that matches counts; others are ignored'),
    })
    .describe('which alerts start a recovery that waits for approval')
    .optional(),
});

export type RawApi = z.infer<typeof apiSchema>;
export type ApiToken = z.infer<typeof tokenSchema>;

export interface Address {
  host: string;
  port: number;
}

export interface AlertMapping {
  clusterLabel: string;
  clusters: Record<string, string>;
  alerts: z.infer<typeof alertSchema>[];
}

export interface ApiConfig {
  listen: Address;
  tokens: ApiToken[];
  alertmanager: AlertMapping | null;
}

/** With its defaults. Throws RecoveryError `CONFIG_INVALID`. */
export function checkApi(raw: RawApi = {}, clusters: readonly string[]): ApiConfig {
  const listen = parseAddress(raw.listen ?? DEFAULT_LISTEN);
  if (!listen) throw invalid('api.listen', 'is not HOST:PORT');
  const tokens = raw.tokens ?? [];
  tokens.forEach((token, index) => checkToken(token, `api.tokens.${index}`, { tokens, index, clusters }));
  return { listen, tokens, alertmanager: raw.alertmanager ? checkAlerts(raw.alertmanager, clusters) : null };
}

/** `127.0.0.1:8080`, `localhost:8080` or `[::1]:8080`; port 0 is any free one. Null where it is something else. */
export function parseAddress(value: string): Address | null {
  const found = /^(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\]):(\d{1,5})$/.exec(value);
  const port = Number(found?.[3]);
  return found && port <= 65_535 ? { host: found[1] ?? found[2] ?? '', port } : null;
}

function checkToken(
  token: ApiToken,
  field: string,
  { tokens, index, clusters }: { tokens: ApiToken[]; index: number; clusters: readonly string[] },
): void {
  asConfig(() => checkName(token.name, `${field}.name`), '');
  const before = tokens.slice(0, index);
  if (before.some(({ name }) => name === token.name)) throw invalid(`${field}.name`, 'another token has this name');
  // Whose decision it was could not be told.
  if (before.some(({ sha256 }) => sha256 === token.sha256))
    throw invalid(`${field}.sha256`, 'another token has it too');
  if (token.sha256 === SHA256_OF_NOTHING) throw invalid(`${field}.sha256`, 'is that of an empty text');
  token.clusters.forEach((name, at) => {
    if (name !== EVERY_CLUSTER && !clusters.includes(name))
      throw invalid(`${field}.clusters.${at}`, 'is no cluster of this file');
  });
}

/** What `sha256sum` says where the variable with the token was not set. */
const SHA256_OF_NOTHING = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

function checkAlerts(raw: NonNullable<RawApi['alertmanager']>, clusters: readonly string[]): AlertMapping {
  for (const [label, name] of Object.entries(raw.clusters ?? {}))
    if (!clusters.includes(name))
      throw invalid(`api.alertmanager.clusters.${label.slice(0, 100)}`, 'is no cluster of this file');
  raw.alerts.forEach(({ match, backup, tables }, index) => {
    const field = `api.alertmanager.alerts.${index}`;
    // An alert of anything would start a recovery.
    if (Object.keys(match).length === 0) throw invalid(`${field}.match`, 'is empty');
    asConfig(() => parseRequest({ cluster: 'any', backup, tables }), `${field}.`);
  });
  return { clusterLabel: raw.clusterLabel ?? 'cluster', clusters: raw.clusters ?? {}, alerts: raw.alerts };
}

/** The checks of requests; here it is the configuration that is not valid. */
function asConfig(check: () => unknown, prefix: string): void {
  try {
    check();
  } catch (cause) {
    if (!(cause instanceof RecoveryError)) throw cause;
    const field = `${prefix}${cause.details.field ?? ''}`;
    throw new RecoveryError('CONFIG_INVALID', `${prefix}${cause.message}`, { field });
  }
}

function invalid(field: string, complaint: string): RecoveryError {
  return new RecoveryError('CONFIG_INVALID', `${field}: ${complaint}`, { field });
}
