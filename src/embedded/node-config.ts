/**
 * What one embedded node is told at start, and the ClickHouse configuration made of it.
 *
 * Pure: no I/O. The launcher writes `NodeConfig` as JSON, the child process reads it and writes
 * the XML beside its data directory.
 */

/** Configuration of one embedded node, as handed to the child process. */
export interface NodeConfig {
  /** Name of the node, for messages only. */
  readonly name: string;
  /** ClickHouse data directory. One process at a time. */
  readonly dataDir: string;
  /** HTTP port on 127.0.0.1; 0 picks a free one. */
  readonly port: number;
  /** `host:port` of every Keeper; empty means no replicated tables. */
  readonly keeperHosts: readonly string[];
  /** ZooKeeper path that all of the node's paths are under, such as `/scratch`; it has to exist. @default none */
  readonly keeperRoot?: string;
  /** ClickHouse macros, e.g. `{ shard: '01', replica: 'r1' }`. */
  readonly macros: Readonly<Record<string, string>>;
  /** Directory behind the local disk `backups`, the only one BACKUP and RESTORE may use. */
  readonly backupsDir: string;
  /** User the HTTP interface asks for; without one, every user is let in. */
  readonly user?: string;
  /** Environment variable of the child that holds the password. Never the password itself. */
  readonly passwordEnv?: string;
  /** Statements that can run at once. @default 4 */
  readonly sessions?: number;
  /** Keeper session timeout, in milliseconds. @default 10_000 */
  readonly keeperSessionTimeoutMs?: number;
  /** Exit when the parent's end of stdin closes. @default false */
  readonly exitWithParent?: boolean;
}

/** Default number of statements one node runs at once. */
export const DEFAULT_SESSIONS = 4;
const DEFAULT_KEEPER_SESSION_TIMEOUT_MS = 10_000;

/**
 * Threads for what runs on a schedule. The embedded engine has two by default: a FileLog table holds one for ever, and
 * with the other one taken too a start or a `DROP … SYNC` never ends. A server has 512.
 */
const SCHEDULE_POOL_SIZE = 16;

/** The file beside the data directory that holds the node's ClickHouse configuration. */
export function configXmlPath(dataDir: string): string {
  return `${dataDir.replace(/\/+$/, '')}.config.xml`;
}

/**
 * Parses the child's single argument once it has been read.
 *
 * @throws Error naming the missing or mistyped field
 */
export function parseNodeConfig(json: string): NodeConfig {
  const raw = JSON.parse(json) as Partial<NodeConfig>;
  const bad = (field: string): Error => new Error(`embedded node: '${field}' is missing or has the wrong type`);
  if (typeof raw.name !== 'string') throw bad('name');
  if (typeof raw.dataDir !== 'string' || raw.dataDir === '') throw bad('dataDir');
  if (typeof raw.backupsDir !== 'string' || raw.backupsDir === '') throw bad('backupsDir');
  if (!Number.isInteger(raw.port)) throw bad('port');
  if (!Array.isArray(raw.keeperHosts)) throw bad('keeperHosts');
  if (typeof raw.macros !== 'object' || raw.macros === null) throw bad('macros');
  return raw as NodeConfig;
}

/**
 * The ClickHouse server configuration of a node.
 *
 * @throws Error when a macro's name is no XML element name, or a Keeper host has no port
 */
export function renderConfigXml(config: NodeConfig): string {
  const macros = Object.entries(config.macros).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name)) throw new Error(`embedded node: bad macro name '${name}'`);
    return `    <${name}>${escapeXml(value)}</${name}>`;
  });
  const backupsPath = `${config.backupsDir.replace(/\/+$/, '')}/`;
  return [
    '<clickhouse>',
    '  <logger><level>none</level></logger>',
    ...renderKeeper(config),
    '  <macros>',
    ...macros,
    '  </macros>',
    '  <storage_configuration><disks><backups>',
    `    <type>local</type><path>${escapeXml(backupsPath)}</path>`,
    '  </backups></disks></storage_configuration>',
    '  <backups><allowed_disk>backups</allowed_disk></backups>',
    `  <background_schedule_pool_size>${SCHEDULE_POOL_SIZE}</background_schedule_pool_size>`,
    '</clickhouse>',
    '',
  ].join('\n');
}

function renderKeeper(config: NodeConfig): string[] {
  if (config.keeperHosts.length === 0) return [];
  const nodes = config.keeperHosts.map((hostPort) => {
    const colon = hostPort.lastIndexOf(':');
    if (colon < 1) throw new Error(`embedded node: Keeper host '${hostPort}' has no port`);
    // Brackets of an IPv6 literal belong to the URL form, not to the host.
    const host = hostPort.slice(0, colon).replace(/^\[|\]$/g, '');
    return `    <node><host>${escapeXml(host)}</host><port>${escapeXml(hostPort.slice(colon + 1))}</port></node>`;
  });
  const timeoutMs = config.keeperSessionTimeoutMs ?? DEFAULT_KEEPER_SESSION_TIMEOUT_MS;
  // Every embedded node has the server UUID 0, and a server kills the session that holds its UUID's node under
  // sessions_path: with one path for all, nodes end each other's sessions in the middle of a statement.
  const sessions = `    <sessions_path>/clickhouse/sessions/${escapeXml(config.name)}</sessions_path>`;
  return [
    '  <zookeeper>',
    ...nodes,
    `    <session_timeout_ms>${timeoutMs}</session_timeout_ms>`,
    sessions,
    ...(config.keeperRoot === undefined ? [] : [`    <root>${escapeXml(config.keeperRoot)}</root>`]),
    '  </zookeeper>',
  ];
}

function escapeXml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
  return text.replace(/[&<>"']/g, (c) => entities[c] ?? c);
}
