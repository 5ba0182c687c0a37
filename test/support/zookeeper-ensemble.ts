import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { freePorts, kill, start, stop, waitFor, type Child } from './processes.js';
import { findJava, findZooKeeperJars } from './tools.js';

export interface EnsembleOptions {
  /** Folder for data, configuration and logs; made if missing. */
  dir: string;
  size: 1 | 3;
}

export interface EnsembleServer {
  /** `127.0.0.1:2181`, where clients connect. */
  readonly host: string;
  readonly clientPort: number;
  readonly dataDir: string;
  /** Undefined while it is down. */
  readonly pid: number | undefined;
  readonly isRunning: boolean;
  readonly isPaused: boolean;
}

/** A real ZooKeeper ensemble on 127.0.0.1. Servers are named by their index, from 0. */
export interface Ensemble {
  /** `127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183`. */
  readonly connectString: string;
  readonly hosts: readonly string[];
  readonly servers: readonly EnsembleServer[];
  /** Starts the servers that are down and waits until all serve. */
  start(): Promise<void>;
  /** Stops all servers; the data stays. */
  stop(): Promise<void>;
  /** Deletes all data, which is what is meant by 'ZooKeeper was lost'. All servers must be stopped. */
  wipe(): void;
  /** Waits until the servers that run have exactly one leader among them, and gives its index. */
  leader(): Promise<number>;
  /** Waits until every server that runs serves clients. Needs a majority. */
  waitUntilServing(): Promise<void>;
  /** Resolves when the server serves clients or, without a majority, when it listens. */
  startServer(index: number): Promise<void>;
  stopServer(index: number): Promise<void>;
  /** SIGKILL, as a crash. */
  killServer(index: number): Promise<void>;
  /** SIGSTOP: the server is there and answers nothing, as behind a network that swallows packets. */
  pause(index: number): void;
  /** SIGCONT. */
  resume(index: number): void;
}

const START_DEADLINE_MS = 60_000;
/** Three Java machines start at once on few cores: long enough for a slow one, short enough for a test. */
const FOUR_LETTER_TIMEOUT_MS = 2_000;

interface Server {
  readonly id: number;
  readonly dir: string;
  readonly clientPort: number;
  child: Child | undefined;
  paused: boolean;
}

/** Starts the servers and waits until they serve clients. */
export async function startEnsemble({ dir, size }: EnsembleOptions): Promise<Ensemble> {
  const ports = await freePorts(3 * size);
  const servers = Array.from({ length: size }, (_, index): Server => {
    const id = index + 1;
    return { id, dir: join(dir, `zookeeper-${id}`), clientPort: ports[index]!, child: undefined, paused: false };
  });
  const peers = servers.map(
    ({ id }, index) => `server.${id}=127.0.0.1:${ports[size + index]}:${ports[2 * size + index]}`,
  );
  for (const server of servers) writeConfig(server, size === 1 ? [] : peers);
  const ensemble = ensembleOf(servers);
  try {
    await ensemble.start();
  } catch (error) {
    await Promise.all(servers.map(async ({ child }) => child && kill(child)));
    throw error;
  }
  return ensemble;
}

function writeConfig(server: Server, peers: string[]): void {
  const dataDir = join(server.dir, 'data');
  mkdirSync(dataDir, { recursive: true });
  writeFileSync(join(dataDir, 'myid'), String(server.id));
  const config = [
    `dataDir=${dataDir}`,
    `clientPort=${server.clientPort}`,
    'clientPortAddress=127.0.0.1',
    // Half a second: a leader that hangs is replaced after syncLimit ticks, and a test waits for that.
    'tickTime=500',
    'initLimit=40',
    'syncLimit=10',
    // The default, 20 ticks, would cut the 30 s that ClickHouse asks for to 10.
    'maxSessionTimeout=40000',
    // The default, 60 connections from one address, is soon reached where all clients have the same.
    'maxClientCnxns=0',
    'admin.enableServer=false',
    '4lw.commands.whitelist=*',
    ...peers,
  ];
  writeFileSync(join(server.dir, 'zoo.cfg'), `${config.join('\n')}\n`);
  const logging = [
    'log4j.rootLogger=WARN, CONSOLE',
    'log4j.appender.CONSOLE=org.apache.log4j.ConsoleAppender',
    'log4j.appender.CONSOLE.layout=org.apache.log4j.PatternLayout',
    'log4j.appender.CONSOLE.layout.ConversionPattern=%d{ISO8601} %-5p %c{1} - %m%n',
  ];
  writeFileSync(join(server.dir, 'log4j.properties'), `${logging.join('\n')}\n`);
}

function launch(server: Server): Promise<Child> {
  const classPath = [server.dir, ...findZooKeeperJars()].join(delimiter);
  const javaOptions = [
    '-Xmx256m',
    // Both halve the CPU time a start costs.
    '-XX:+UseSerialGC',
    '-XX:TieredStopAtLevel=1',
    '-Dzookeeper.jmx.log4j.disable=true',
    // No fsync: what a killed process wrote survives it, and losing power is not among the tests.
    '-Dzookeeper.forceSync=no',
  ];
  const main = 'org.apache.zookeeper.server.quorum.QuorumPeerMain';
  return start({
    name: `zookeeper-${server.id}`,
    command: findJava(),
    args: [...javaOptions, '-cp', classPath, main, join(server.dir, 'zoo.cfg')],
    logFile: join(server.dir, 'zookeeper.log'),
    cwd: server.dir,
  });
}

function ensembleOf(servers: Server[]): Ensemble {
  const at = (index: number): Server => {
    const server = servers[index];
    if (server === undefined) throw new Error(`the ensemble has no server ${index}`);
    return server;
  };
  const answering = () => servers.filter((server) => isRunning(server) && !server.paused);
  const hasMajority = () => answering().length > servers.length / 2;
  const hosts = servers.map(({ clientPort }) => `127.0.0.1:${clientPort}`);

  const ensemble: Ensemble = {
    hosts,
    connectString: hosts.join(','),
    servers: servers.map(view),
    start: async () => {
      await Promise.all(servers.map(launchIfDown));
      await ensemble.waitUntilServing();
    },
    stop: async () => {
      await Promise.all(servers.map((_, index) => ensemble.stopServer(index)));
    },
    wipe: () => {
      if (servers.some(isRunning)) throw new Error('stop the ensemble before its data is wiped');
      // Not the whole folder: `myid` lies beside it.
      for (const { dir } of servers) rmSync(join(dir, 'data', 'version-2'), { recursive: true, force: true });
    },
    leader: () => waitForLeader(servers, answering),
    waitUntilServing: async () => {
      await Promise.all(answering().map(waitUntilServing));
      // One that was paused says for a moment that it leads, and is not to be stopped while it takes the other's data.
      await waitForLeader(servers, answering);
      await Promise.all(answering().map(waitUntilServing));
    },
    startServer: async (index) => {
      const server = at(index);
      await launchIfDown(server);
      await (hasMajority() ? waitUntilServing(server) : waitUntilListening(server));
    },
    stopServer: async (index) => {
      const server = at(index);
      if (server.child) await stop(server.child);
      server.paused = false;
    },
    killServer: async (index) => {
      const server = at(index);
      if (server.child) await kill(server.child);
      server.paused = false;
    },
    pause: (index) => {
      at(index).child?.signal('SIGSTOP');
      at(index).paused = true;
    },
    resume: (index) => {
      at(index).child?.signal('SIGCONT');
      at(index).paused = false;
    },
  };
  return ensemble;
}

function isRunning(server: Server): boolean {
  return server.child?.isRunning() ?? false;
}

function view(server: Server): EnsembleServer {
  return {
    host: `127.0.0.1:${server.clientPort}`,
    clientPort: server.clientPort,
    dataDir: join(server.dir, 'data'),
    get pid() {
      return isRunning(server) ? server.child?.pid : undefined;
    },
    get isRunning() {
      return isRunning(server);
    },
    get isPaused() {
      return server.paused;
    },
  };
}

async function launchIfDown(server: Server): Promise<void> {
  if (!isRunning(server)) server.child = await launch(server);
}

function waitUntilServing(server: Server): Promise<string> {
  return untilAnswered(server, 'srvr', async () => modeOf(await fourLetterWord(server.clientPort, 'srvr')));
}

function waitUntilListening(server: Server): Promise<string> {
  return untilAnswered(server, 'ruok', async () => fourLetterWord(server.clientPort, 'ruok'));
}

async function untilAnswered(server: Server, word: string, ask: () => Promise<string | undefined>): Promise<string> {
  const name = `zookeeper-${server.id}`;
  const answer = await waitFor(() => (isRunning(server) ? ask() : 'ended'), {
    what: `${name} to answer '${word}'; its log ends with:\n${server.child?.logTail() ?? ''}\n`,
    deadlineMs: START_DEADLINE_MS,
  });
  if (answer === 'ended') throw new Error(`${name} ended while starting; its log:\n${server.child?.logTail() ?? ''}`);
  return answer;
}

function waitForLeader(servers: Server[], answering: () => Server[]): Promise<number> {
  return waitFor(
    async () => {
      const candidates = answering();
      const answers = candidates.map(({ clientPort }) => fourLetterWord(clientPort, 'srvr').then(modeOf));
      const modes = await Promise.all(answers.map((answer) => answer.catch(() => undefined)));
      const leaders = candidates.filter((_, i) => modes[i] === 'leader' || modes[i] === 'standalone');
      // Two claim it for a moment when the old one comes back from a pause.
      return leaders.length === 1 && { index: servers.indexOf(leaders[0]!) };
    },
    { what: 'one leader in the ZooKeeper ensemble', deadlineMs: START_DEADLINE_MS },
  ).then(({ index }) => index);
}

/** 'leader', 'follower' or 'standalone'; undefined while the server has no quorum and serves nobody. */
function modeOf(srvr: string): string | undefined {
  return /^Mode: (\w+)$/m.exec(srvr)?.[1];
}

/** Asks a ZooKeeper server one of its four-letter words: `srvr`, `ruok`, `mntr`, `cons`, `dump`. */
export function fourLetterWord(port: number, word: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(word));
    socket.setEncoding('utf8');
    socket.setTimeout(FOUR_LETTER_TIMEOUT_MS, () =>
      socket.destroy(new Error(`no answer to '${word}' at port ${port}`)),
    );
    socket.on('data', (chunk: string) => (answer += chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
  });
}
