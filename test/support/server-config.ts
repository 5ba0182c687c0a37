/** Configuration files of a ClickHouse server: one that shares its machine with others, understood by 18.16 and by current ones. */

export interface ServerConfig {
  /** Folder of everything the server writes. */
  readonly dir: string;
  readonly ports: { readonly http: number; readonly tcp: number; readonly interserver: number };
  /** Where the other replicas are told to fetch from: 127.0.0.2 lets a test put a proxy in between. */
  readonly interserverHost: string;
  /** Empty: the server knows of no ZooKeeper. */
  readonly keeperHosts: readonly string[];
  readonly keeperSessionTimeoutMs: number;
  readonly macros: Readonly<Record<string, string>>;
  /** The whole cluster, for `Distributed` tables and `ON CLUSTER`. */
  readonly clusterName: string;
  readonly shards: readonly (readonly { readonly host: string; readonly tcpPort: number }[])[];
  readonly user: string;
  readonly password: string;
}

const escape = (text: string) =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c] ?? c);

/** Objects become nested elements, arrays repeat their element. */
type Xml = string | number | { readonly [tag: string]: Xml | readonly Xml[] };

function render(tag: string, value: Xml | readonly Xml[]): string {
  if (Array.isArray(value)) return value.map((each: Xml) => render(tag, each)).join('');
  if (typeof value !== 'object') return `<${tag}>${escape(String(value))}</${tag}>\n`;
  const children = Object.entries(value as Record<string, Xml>).map(([name, child]) => render(name, child));
  return `<${tag}>\n${children.join('')}</${tag}>\n`;
}

// `yandex` is the root of old versions; new ones take it too.
const document = (content: Xml) => `<?xml version="1.0"?>\n${render('yandex', content)}`;

export function serverConfigXml(config: ServerConfig): string {
  const { dir, ports, user, password } = config;
  return document({
    logger: { level: 'information', log: `${dir}/server.log`, errorlog: `${dir}/error.log`, size: '50M', count: 2 },
    listen_host: '127.0.0.1',
    http_port: ports.http,
    tcp_port: ports.tcp,
    interserver_http_port: ports.interserver,
    interserver_http_host: config.interserverHost,
    path: `${dir}/data/`,
    tmp_path: `${dir}/data/tmp/`,
    user_files_path: `${dir}/data/user_files/`,
    format_schema_path: `${dir}/data/format_schemas/`,
    users_config: `${dir}/users.xml`,
    default_profile: 'default',
    default_database: 'default',
    timezone: 'UTC',
    // Several on one small machine.
    max_connections: 256,
    max_open_files: 4096,
    mark_cache_size: 64 * 1024 * 1024,
    uncompressed_cache_size: 0,
    keep_alive_timeout: 3,
    ...keeper(config),
    macros: config.macros,
    remote_servers: {
      [config.clusterName]: {
        shard: config.shards.map((replicas) => ({
          internal_replication: 'true',
          replica: replicas.map(({ host, tcpPort }) => ({ host, port: tcpPort, user, password })),
        })),
      },
    },
    query_log: { database: 'system', table: 'query_log', flush_interval_milliseconds: 1000 },
    // Old parts go soon, so that a listing of ZooKeeper settles within a test.
    merge_tree: { old_parts_lifetime: 5, cleanup_delay_period: 2, cleanup_delay_period_random_add: 0 },
  });
}

function keeper({ keeperHosts, keeperSessionTimeoutMs, clusterName }: ServerConfig): Record<string, Xml> {
  if (keeperHosts.length === 0) return {};
  const nodes = keeperHosts.map((host) => {
    const colon = host.lastIndexOf(':');
    return { host: host.slice(0, colon), port: host.slice(colon + 1) };
  });
  const timeouts = { session_timeout_ms: keeperSessionTimeoutMs, operation_timeout_ms: keeperSessionTimeoutMs };
  return {
    zookeeper: { node: nodes, ...timeouts },
    distributed_ddl: { path: `/clickhouse/task_queue/ddl/${clusterName}` },
  };
}

export function usersXml({ user, password }: ServerConfig): string {
  const account = { password, networks: { ip: '127.0.0.1' }, profile: 'default', quota: 'default' };
  return document({
    profiles: { default: { log_queries: 1, load_balancing: 'in_order', max_memory_usage: 2_000_000_000 } },
    users: { [user]: account, ...(user === 'default' ? {} : { default: account }) },
    quotas: { default: {} },
  });
}
