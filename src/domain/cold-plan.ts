import type {
  ColdHost,
  ColdManifest,
  ColdPlan,
  FoundCopy,
  HostFacts,
  NodeState,
  PlannedHost,
  ReplicaLag,
} from './cold.js';
import { problem, type Problem } from './errors.js';
import type { NodeRef } from './topology.js';

/** An entry that waits longer in a replica's queue means that it does not keep up. Seconds. */
const MAX_LAG_SECONDS = 60;
/** For folders, lists of files, and what the servers write meanwhile. */
const MARGIN = 1.02;
const MARGIN_BYTES = 64 * 1024 * 1024;
/** Names in one message. */
const SHOWN = 5;

interface Observed {
  cluster: string;
  generation: string;
  hosts: readonly ColdHost[];
  /** Of the hosts whose agents answered. */
  facts: readonly HostFacts[];
  /** Of the nodes that answer. */
  nodes: readonly NodeState[];
  topology: readonly NodeRef[];
}

type Unhashed = Omit<ColdPlan, 'hash'>;

/** A cold backup: refused unless every agent is there and the cluster is whole, since a copy holds what it is a copy of. */
export function planColdBackup(input: Observed & { chroot: boolean }): Unhashed {
  const { cluster, generation, hosts, facts, nodes, topology, chroot } = input;
  const taken = facts.filter(({ generations }) => generations.includes(generation)).map(({ name }) => name);
  const refusals = [
    ...missingAgents(cluster, hosts, facts),
    ...notRunning(facts),
    ...wrongEnsemble(facts),
    ...silentNodes(topology, nodes),
    ...wrongMacros(topology, nodes),
    ...unhealthy(nodes),
    ...facts.flatMap((host) => noSpace(host.name, 'for the copy', host.copyBytes, host.freeForCopies)),
    ...(taken.length > 0
      ? [problem('INPUT_INVALID', `there is a copy ${generation} already, on ${some(taken)}`, { field: 'name' })]
      : []),
  ];
  const shared = chroot
    ? [
        'the ensemble has a chroot: whoever else uses it is without ZooKeeper meanwhile, and a restore takes them back too',
      ]
    : [];
  const linked = facts.filter(({ method }) => method === 'hardlink').map(({ name }) => name);
  const sameDisk =
    linked.length > 0
      ? [`part files are hard-linked on ${some(linked)}: this copy is on the same disk and does not outlive it`]
      : [];
  return {
    ...{ kind: 'backup', cluster, generation, instead: null, refusals },
    hosts: facts.map(planned),
    warnings: [...shared, ...sameDisk],
  };
}

interface RestoreInput extends Observed {
  found: readonly FoundCopy[];
  /** How `ch-recover start` would see the cluster now; null: it cannot tell. */
  recovery: { command: string; situations: Record<string, number> } | null;
}

/** A cold restore: all that can be found out about the copies is found out here, before anything is stopped. */
export function planColdRestore(input: RestoreInput): Unhashed {
  const { cluster, generation, hosts, facts, nodes, topology, found } = input;
  const manifest = found.find((copy) => copy.manifest !== null)?.manifest ?? null;
  const refusals = [
    ...missingAgents(cluster, hosts, facts),
    ...damagedCopies(generation, found),
    ...mixedCopies(cluster, generation, found),
    ...(manifest ? [...otherHosts(manifest, hosts, facts), ...copiedMacros(manifest, topology)] : []),
    ...wrongMacros(topology, nodes),
    ...facts.flatMap((host) => noSpaceToStage(host, found.find((copy) => copy.host === host.name)?.stageBytes ?? {})),
  ];
  const sizes = new Map(manifest?.hosts.map((host) => [host.name, host]));
  return {
    ...{ kind: 'restore', cluster, generation, refusals },
    hosts: facts.map((host) => ({
      ...planned(host),
      files: sizes.get(host.name)?.files ?? 0,
      bytes: sizes.get(host.name)?.bytes ?? 0,
    })),
    warnings: [
      ...(manifest ? [`everything written since ${manifest.takenAt} is lost, on every node`] : []),
      ...(manifest ? otherVersions(manifest, facts, nodes) : []),
    ],
    instead: lessLoss(input.recovery),
  };
}

/** What a plan is approved by: not sizes, which change while somebody reads it. */
export function coldPlanIdentity(plan: Unhashed, manifest: ColdManifest | null): string {
  const { kind, cluster, generation, hosts, instead, refusals } = plan;
  return JSON.stringify({
    ...{ kind, cluster, instead },
    generation: kind === 'restore' ? generation : null,
    hosts: [...hosts]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, role, method, commands }) => ({ name, role, method, commands })),
    refusals: refusals.map(({ code, objects }) => ({ code, objects })),
    manifest,
  });
}

/** The newest copy that all hosts have; null: none. */
export function newestCommon(facts: readonly Pick<HostFacts, 'generations'>[]): string | null {
  const [first, ...others] = facts;
  const common = first?.generations.filter((name) => others.every(({ generations }) => generations.includes(name)));
  return common?.at(-1) ?? null;
}

const planned = ({ name, role, method, files, bytes, commands }: HostFacts): PlannedHost => ({
  ...{ name, role, method, files, bytes, commands },
});

function missingAgents(cluster: string, hosts: readonly ColdHost[], facts: readonly HostFacts[]): Problem[] {
  return hosts.flatMap(({ name, role }) => {
    const fact = facts.find((each) => each.name === name);
    if (!fact) return [agentMissing(cluster, { name, role })];
    return fact.role === role
      ? []
      : [
          problem('MANIFEST_MISMATCH', `the agent of ${name} is one of ${fact.role}, not of ${role}`, {
            objects: [name],
          }),
        ];
  });
}

/** Says which command starts it, since there is nothing else to do about it. */
export function agentMissing(cluster: string, { name, role }: ColdHost): Problem {
  const option = role === 'keeper' ? '--keeper' : '--node';
  return problem(
    'AGENT_UNAVAILABLE',
    `no agent answers for ${name} of ${cluster}: on that host, run \`ch-recover agent ${option} ${name}\``,
    { objects: [name] },
  );
}

function notRunning(facts: readonly HostFacts[]): Problem[] {
  const down = facts.filter(({ running }) => running !== true).map(({ name }) => name);
  return down.length > 0
    ? [
        problem('CLUSTER_UNHEALTHY', `not running, or its probe command does not say so: ${some(down)}`, {
          objects: down,
        }),
      ]
    : [];
}

/** One leader whom all others follow. */
function wrongEnsemble(facts: readonly HostFacts[]): Problem[] {
  const servers = facts.filter(({ role }) => role === 'keeper');
  const silent = servers.filter(({ mode }) => mode === null).map(({ name }) => name);
  const leaders = servers.filter(({ mode }) => mode === 'leader' || mode === 'standalone');
  if (silent.length === 0 && leaders.length === 1) return [];
  const why =
    silent.length > 0
      ? `${some(silent)} ${silent.length === 1 ? 'serves' : 'serve'} nobody (four-letter word srvr)`
      : `${leaders.length} leaders`;
  return [problem('CLUSTER_UNHEALTHY', `the ZooKeeper ensemble is not whole: ${why}`, { objects: silent })];
}

function silentNodes(topology: readonly NodeRef[], nodes: readonly NodeState[]): Problem[] {
  const silent = topology.filter(({ name }) => !nodes.some(({ node }) => node === name)).map(({ name }) => name);
  return silent.length > 0
    ? [problem('CLUSTER_UNHEALTHY', `these nodes do not answer: ${some(silent)}`, { objects: silent })]
    : [];
}

/** What keeps a replica from being in sync; null: it is. */
export function replicaComplaint(replica: ReplicaLag): string | null {
  const { table, readonly, sessionExpired, active, total, queue, oldestSeconds } = replica;
  if (sessionExpired) return `${table} has lost its ZooKeeper session`;
  if (readonly) return `${table} is read-only`;
  if (active < total) return `${table} has ${active} of ${total} replicas active`;
  if (queue > 0 && oldestSeconds > MAX_LAG_SECONDS)
    return `${table} has ${queue} entries in its queue, the oldest for ${oldestSeconds} s`;
  return null;
}

function unhealthy(nodes: readonly NodeState[]): Problem[] {
  const complaints = nodes.flatMap(({ node, replicas }) =>
    replicas.flatMap((replica) => {
      const complaint = replicaComplaint(replica);
      return complaint === null ? [] : [`${node}: ${complaint}`];
    }),
  );
  return complaints.length > 0
    ? [problem('CLUSTER_UNHEALTHY', `not in sync: ${some(complaints)}`, { objects: complaints.slice(0, SHOWN) })]
    : [];
}

function wrongMacros(topology: readonly NodeRef[], nodes: readonly NodeState[]): Problem[] {
  return nodes.flatMap(({ node, macros }) => {
    const ref = topology.find(({ name }) => name === node);
    return ref ? macroProblem(`${node} says`, ref, macros) : [];
  });
}

function copiedMacros(manifest: ColdManifest, topology: readonly NodeRef[]): Problem[] {
  return manifest.hosts.flatMap(({ name, macros, role }) => {
    const ref = topology.find((node) => node.name === name);
    return ref && role === 'clickhouse' ? macroProblem(`the copy of ${name} is of`, ref, macros) : [];
  });
}

function macroProblem(who: string, ref: NodeRef, macros: Readonly<Record<string, string>>): Problem[] {
  const wrong = (['shard', 'replica'] as const).filter((key) => macros[key] !== undefined && macros[key] !== ref[key]);
  return wrong.map((key) =>
    problem('WRONG_MACROS', `${who} ${key} ${macros[key]}, recovery.yaml says ${ref[key]}`, { objects: [ref.name] }),
  );
}

function damagedCopies(generation: string, found: readonly FoundCopy[]): Problem[] {
  const absent = found.filter(({ manifest, problem: complaint }) => !manifest && !complaint).map(({ host }) => host);
  return [
    ...(absent.length > 0
      ? [problem('COPY_UNKNOWN', `there is no copy ${generation} on ${some(absent)}`, { objects: absent })]
      : []),
    ...found.flatMap(({ host, problem: complaint }) =>
      complaint === null ? [] : [problem('COPY_DAMAGED', `${host}: ${complaint}`, { objects: [host] })],
    ),
  ];
}

/** Files of one copy under the manifest of another would be trees of different moments: what ZooKeeper must never see. */
function mixedCopies(cluster: string, generation: string, found: readonly FoundCopy[]): Problem[] {
  const manifests = found.flatMap(({ host, manifest }) => (manifest ? [{ host, manifest }] : []));
  const [first] = manifests;
  if (!first) return [];
  const other = manifests.filter(
    ({ manifest }) => manifest.generation !== generation || JSON.stringify(manifest) !== JSON.stringify(first.manifest),
  );
  if (first.manifest.cluster !== cluster)
    return [problem('MANIFEST_MISMATCH', `the copy is of cluster ${first.manifest.cluster}, not of ${cluster}`)];
  return other.length > 0
    ? [
        problem(
          'MANIFEST_MISMATCH',
          `mixed generations: ${some(other.map(({ host, manifest }) => `${host} has ${manifest.generation} of ${manifest.takenAt}`))}, ${first.host} has ${first.manifest.generation} of ${first.manifest.takenAt}`,
          { objects: other.map(({ host }) => host) },
        ),
      ]
    : [];
}

function otherHosts(manifest: ColdManifest, hosts: readonly ColdHost[], facts: readonly HostFacts[]): Problem[] {
  const key = ({ name, role }: ColdHost) => `${name} (${role})`;
  const [copied, here] = [new Set(manifest.hosts.map(key)), new Set(hosts.map(key))];
  const extra = [...copied].filter((host) => !here.has(host));
  const left = [...here].filter((host) => !copied.has(host));
  if (extra.length > 0 || left.length > 0)
    return [
      problem(
        'MANIFEST_MISMATCH',
        [
          ...(left.length > 0 ? [`the copy has nothing of ${some(left)}`] : []),
          ...(extra.length > 0 ? [`recovery.yaml lacks ${some(extra)}`] : []),
        ].join('; '),
        { objects: [...extra, ...left].slice(0, SHOWN) },
      ),
    ];
  return facts.flatMap(({ name, trees }) => {
    const wanted = manifest.hosts.find((host) => host.name === name)?.trees.join();
    const has = trees.map((tree) => tree.name).join();
    return wanted === has
      ? []
      : [
          problem('MANIFEST_MISMATCH', `${name} has the trees ${has}, its copy ${wanted ?? 'none'}`, {
            objects: [name],
          }),
        ];
  });
}

function otherVersions(manifest: ColdManifest, facts: readonly HostFacts[], nodes: readonly NodeState[]): string[] {
  return manifest.hosts.flatMap(({ name, version }) => {
    const now =
      nodes.find(({ node }) => node === name)?.version ?? facts.find((host) => host.name === name)?.version ?? null;
    return now !== null && now !== version ? [`${name} runs ${now}, its copy is of ${version}`] : [];
  });
}

/** ZooKeeper's metadata can be made anew from the parts, and a replica from its peers: neither takes anybody back. */
function lessLoss(recovery: RestoreInput['recovery']): ColdPlan['instead'] {
  if (!recovery) return null;
  const { command, situations } = recovery;
  const found = Object.entries(situations).map(([name, count]) => `${count} ${name}`);
  return {
    why: `the data of every shard is still there (${found.join(', ')}): SYSTEM RESTORE REPLICA, or its conversion on old servers, loses less than this copy`,
    command,
  };
}

function noSpaceToStage(host: HostFacts, stageBytes: Readonly<Record<string, number>>): Problem[] {
  const devices = new Map<string, { needed: number; free: number }>();
  for (const { name, device, free } of host.trees) {
    const needed = (devices.get(device)?.needed ?? 0) + (stageBytes[name] ?? 0);
    devices.set(device, { needed, free });
  }
  return [...devices.values()].flatMap(({ needed, free }) => noSpace(host.name, 'beside the live trees', needed, free));
}

function noSpace(host: string, where: string, bytes: number, free: number): Problem[] {
  const needed = Math.ceil(bytes * MARGIN) + MARGIN_BYTES;
  if (free >= needed) return [];
  const number = (value: number) => value.toLocaleString('en-US');
  return [
    problem(
      'COPY_NO_SPACE',
      `${host}: ${number(needed)} bytes are needed ${where}, ${number(free)} are free: ${number(needed - free)} too few`,
      { objects: [host] },
    ),
  ];
}

function some(names: readonly string[]): string {
  const more = names.length - SHOWN;
  return more > 0 ? `${names.slice(0, SHOWN).join(', ')} and ${more} more` : names.join(', ');
}
