/** docker-compose.yml and what it mounts. No Docker here: everything that can be wrong without one is looked at. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.js';
import { repoRoot } from '../support/tools.js';

interface Service {
  image: string;
  profiles?: string[];
  depends_on?: Record<string, { condition: string }>;
  environment?: Record<string, string | number>;
  volumes?: string[];
  ports?: string[];
  restart?: string;
  healthcheck?: { test?: string[]; disable?: boolean };
  networks?: { default?: { aliases?: string[] } };
}
interface Compose {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
}

const read = (path: string) => readFileSync(join(repoRoot, path), 'utf8');
const compose = parse(read('docker-compose.yml'), { merge: true }) as Compose;
const services = Object.entries(compose.services);
const PROFILES = ['small', 'full', 'keeper'];
const inProfile = (profile: string) => services.filter(([, { profiles }]) => profiles?.includes(profile));

describe('docker-compose.yml', () => {
  it.each(services)('%s: has a pinned image and profiles that exist', (_name, { image, profiles }) => {
    expect(image).toMatch(/:v?\d+\.\d+/);
    expect(profiles?.length).toBeGreaterThan(0);
    expect(PROFILES).toEqual(expect.arrayContaining(profiles ?? []));
  });

  it.each(services)('%s: is checked while it runs, or says that it cannot be', (_name, { healthcheck, restart }) => {
    const endsByItself = restart?.startsWith('on-failure') ?? false;
    expect(healthcheck !== undefined || endsByItself).toBe(true);
    if (healthcheck?.disable !== true && !endsByItself) expect(healthcheck?.test?.length).toBeGreaterThan(1);
  });

  it.each(services)('%s: everything it names is there, in each of its profiles', (_name, service) => {
    for (const volume of service.volumes ?? []) {
      const source = volume.split(':')[0]!;
      if (source.startsWith('.')) expect(existsSync(join(repoRoot, source)), source).toBe(true);
      else expect(Object.keys(compose.volumes)).toContain(source);
    }
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      const needed = compose.services[other];
      expect(needed?.profiles, other).toEqual(expect.arrayContaining(service.profiles ?? []));
      if (condition === 'service_healthy') expect(needed?.healthcheck?.test, other).toBeDefined();
      if (condition === 'service_completed_successfully') expect(needed?.restart, other).toMatch(/^on-failure/);
    }
  });

  it.each(PROFILES)('%s: has every port once, on 127.0.0.1', (profile) => {
    const ports = inProfile(profile).flatMap(([, service]) => service.ports ?? []);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    expect(new Set(ports.map((port) => port.split(':')[1])).size).toBe(ports.length);
  });

  it('declares no volume that nobody uses', () => {
    const used = services.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')[0]));
    for (const volume of Object.keys(compose.volumes)) expect(used).toContain(volume);
  });
});

/** Names by which containers of a profile reach each other. */
const hostsOf = (profile: string) =>
  inProfile(profile).flatMap(([name, { networks }]) => [name, ...(networks?.default?.aliases ?? [])]);

describe('docker/', () => {
  const xml = ['docker/clickhouse/cluster.xml', 'docker/keeper/keeper_config.xml'];

  it.each(xml)('%s is well-formed, and every variable it takes is given to its containers', (path) => {
    const script =
      'import sys, xml.dom.minidom as m; [print(e.getAttribute("from_env")) for e in m.parse(sys.argv[1]).getElementsByTagName("*") if e.hasAttribute("from_env")]';
    const { status, stdout, stderr } = spawnSync('python3', ['-c', script, join(repoRoot, path)], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const variables = stdout.trim().split('\n');
    const users = services.filter(([, { volumes = [] }]) =>
      volumes.some((volume) => [path, dirname(path)].includes(volume.split(':')[0]!.replace('./', ''))),
    );
    expect(users.length).toBeGreaterThanOrEqual(3);
    for (const [name, { environment = {} }] of users)
      expect(Object.keys(environment), name).toEqual(expect.arrayContaining(variables));
  });

  it.each(['docker/temporal/schema.sh', 'docker/temporal/namespace.sh'])('%s is a shell script', (path) => {
    expect(spawnSync('sh', ['-n', join(repoRoot, path)], { encoding: 'utf8' })).toMatchObject({
      status: 0,
      stderr: '',
    });
  });

  it.each(['full', 'keeper'])(
    'recovery.yaml names the containers of %s, with the macros that they have',
    async (profile) => {
      const { clusters } = await loadConfig(join(repoRoot, 'docker/recovery.yaml'));
      const { keeper, nodes, backups } = clusters['demo']!;
      const hosts = hostsOf(profile);
      for (const host of keeper.hosts) expect(hosts).toContain(host.replace(/:2181$/, ''));
      for (const { name, url, shard, replica } of nodes) {
        expect(hosts).toContain(new URL(url).hostname);
        expect(compose.services[name]?.environment).toMatchObject({
          CH_HOST: name,
          CH_SHARD: shard,
          CH_REPLICA: replica,
        });
      }
      expect(nodes.map(({ name }) => name)).toEqual(
        services.flatMap(([name]) => (/^clickhouse-/.test(name) ? [name] : [])),
      );
      const cb = backups['cb'];
      if (cb?.kind !== 'clickhouse-backup') throw new Error('cb is another kind');
      for (const [node, url] of Object.entries(cb.api)) {
        const { hostname } = new URL(url);
        expect(hosts).toContain(hostname);
        expect(compose.services[hostname]?.environment).toMatchObject({ CLICKHOUSE_HOST: node });
      }
    },
  );

  it('e2e/recovery.yaml reaches the same through the ports of the host', async () => {
    const inside = (await loadConfig(join(repoRoot, 'docker/recovery.yaml'))).clusters['demo']!;
    const outside = (await loadConfig(join(repoRoot, 'docker/e2e/recovery.yaml'))).clusters['demo']!;
    const portOf = (url: string) => {
      const { hostname, port } = new URL(url);
      const mapped = compose.services[hostname]?.ports?.find((each) => each.endsWith(`:${port}`));
      return `http://127.0.0.1:${mapped?.split(':')[1]}`;
    };
    expect(outside.nodes).toEqual(inside.nodes.map((node) => ({ ...node, url: portOf(node.url) })));
    expect(outside.keeper.hosts.map((host) => `http://${host}`)).toEqual(
      inside.keeper.hosts.map((host) => portOf(`http://${host}`)),
    );
  });

  it('e2e/commands.yaml has every command, and each is a shell script', () => {
    const { commands, keeper } = parse(read('docker/e2e/commands.yaml')) as Record<string, Record<string, string>>;
    expect([Object.keys(commands!), Object.keys(keeper!)]).toEqual([
      ['start', 'stop', 'kill', 'wipe'],
      ['start', 'stop', 'wipe'],
    ]);
    for (const text of [...Object.values(commands!), ...Object.values(keeper!)])
      expect(spawnSync('sh', ['-n', '-c', text], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  });

  it('the image of the worker gets what its build needs', () => {
    const ignored = read('.dockerignore');
    const sources = [...read('Dockerfile').matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, files]) =>
      files!.split(' '),
    );
    expect(sources.length).toBeGreaterThan(4);
    for (const source of sources) {
      expect(existsSync(resolve(repoRoot, source)), source).toBe(true);
      expect(ignored).toContain(`!${source}`);
    }
  });
});
